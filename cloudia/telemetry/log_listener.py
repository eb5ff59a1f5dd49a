"""The listener that writes the log: which line each happening is, if it is one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cloudia.telemetry.events import AttemptFailed, JobAccepted, JobEnded
from cloudia.telemetry.logs import log
from cloudia.telemetry.traceparent import trace_id

if TYPE_CHECKING:
    from cloudia.telemetry.events import Happening, JobIds

__all__ = ["write_line"]


def write_line(event: Happening, exc_info: BaseException | None = None) -> None:
    """Log a happening, with the traceback of `exc_info`. Most are no line: they would be too many."""
    match event:
        case JobAccepted():
            log("job accepted", **_ids(event.job), again=event.again or None)
        case AttemptFailed():
            log(
                "attempt failed",
                level=logging.WARNING,
                **_ids(event.job),
                attempt=event.job.attempt,
                code=event.code,
                reason=event.reason,
                then=event.decision,
                delay=event.delay,
                exc_info=exc_info,
            )
        case JobEnded():
            log(
                "job ended",
                **_ids(event.job),
                status=event.status,
                attempt=event.job.attempt,
                waited_ms=_millis(event.began_at - event.accepted_at),
                first_token_ms=_millis(event.first_text_at - event.began_at) if event.first_text_at else None,
                total_ms=_millis(event.at - event.accepted_at),
                usage=event.usage,
                llm_calls=event.llm_calls,
            )


def _ids(job: JobIds) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "conversation_id": job.conversation_id,
        "trace_id": trace_id(job.traceparent),
    }


def _millis(seconds: float) -> int:
    return round(seconds * 1000)
