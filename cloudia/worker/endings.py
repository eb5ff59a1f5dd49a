"""How the end of a job is told: its last event, and its dead letter."""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import TYPE_CHECKING, Any

from cloudia import ids, telemetry
from cloudia.cloud.queue import MOST_ATTRIBUTES, Attribute
from cloudia.protocol import told_usage

if TYPE_CHECKING:
    from collections.abc import Mapping

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
            facts = {"usage": told_usage(usage), "provider": provider, "model": model, "finish": finish}
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
    attributes: Mapping[str, Attribute] | None = None,
) -> None:
    """Write a dead letter: the message as it is, and why it died. The same one twice within five minutes is once.

    What it bears itself (`attributes`) stays; of the reasons there are then as many as there is room for.
    """
    telemetry.log("dead letter", level=logging.ERROR, code=failure.code, reason=failure.hint, attempts=attempts)
    reasons = {
        "error_type": failure.code,
        "error_message": f"{failure.message} {failure.hint}".strip(),
        "failed_at": ids.now(),
        "attempts": str(attempts),
        "traceparent": traceparent or "",
    }
    await asyncio.to_thread(
        dead_letters.send_raw,
        body,
        group=group,
        deduplication_id=deduplication_id,
        attributes=_labelled(attributes or {}, reasons),
    )


def _labelled(own: Mapping[str, Attribute], reasons: Mapping[str, str]) -> dict[str, Attribute]:
    """Return a message's own attributes, and beside them the reasons that SQS has room for, the first ones first."""
    labels = {name: Attribute(text) for name, text in reasons.items() if text and name not in own}
    return {**own, **dict(islice(labels.items(), max(0, MOST_ATTRIBUTES - len(own))))}
