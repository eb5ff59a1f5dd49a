"""How the end of a job is told: its last event, and its dead letter."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from cloudia import ids, telemetry

if TYPE_CHECKING:
    from cloudia.cloud.queue import JobQueue
    from cloudia.protocol import JobStatus
    from cloudia.worker.failures import Failure

__all__ = ["bury", "last_event"]


def last_event(
    status: JobStatus,
    *,
    message_id: str | None,
    provider: str | None,
    model: str | None,
    usage: dict[str, float] | None,
    finish: str | None,
    error: dict[str, Any] | None,
) -> tuple[str, dict[str, Any]]:
    """Return the type and the data of the event that ends a job."""
    match status:
        case "done":
            facts = {"usage": usage, "provider": provider, "model": model, "finish": finish}
            return "done", {"message_id": message_id, **facts}
        case "cancelled":
            return "cancelled", {"message_id": message_id}
        case _:
            return "error", {"status": status, "error": error or {}, **({"finish": finish} if finish else {})}


async def bury(
    dead_letters: JobQueue,
    body: str,
    *,
    group: str,
    deduplication_id: str,
    failure: Failure,
    attempts: int,
    traceparent: str | None = None,
) -> None:
    """Write a dead letter: the message as it is, and why it died. The same one twice within five minutes is once."""
    telemetry.log("dead letter", level=logging.ERROR, code=failure.code, reason=failure.hint, attempts=attempts)
    await asyncio.to_thread(
        dead_letters.send_raw,
        body,
        group=group,
        deduplication_id=deduplication_id,
        attributes={
            "error_type": failure.code,
            "error_message": f"{failure.message} {failure.hint}".strip(),
            "attempts": str(attempts),
            "failed_at": ids.now(),
            "traceparent": traceparent or "",
        },
    )
