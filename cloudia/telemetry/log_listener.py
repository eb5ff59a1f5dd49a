"""The listener that writes the log: which line each happening is, if it is one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cloudia.telemetry.events import (
    AttemptFailed,
    AttemptIds,
    BreakerChanged,
    ConnectionEnded,
    ConnectionOpened,
    JobAccepted,
    JobEnded,
)
from cloudia.telemetry.logs import log
from cloudia.telemetry.traceparent import attempt_span_id, span_id, trace_id

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
        case BreakerChanged():
            log(
                f"breaker {event.state}",
                level=logging.WARNING if event.state == "open" else logging.INFO,
                provider=event.provider,
                model=event.model,
                opened=event.opened,
            )
        case ConnectionOpened():
            log("connected", connection_id=event.connection_id, resumed=event.resumed)
        case ConnectionEnded():
            log("disconnected", connection_id=event.connection_id, code=event.code)


def _ids(job: JobIds) -> dict[str, Any]:
    """Return the ids of a line: its span is the attempt's, or that of the request that was accepted."""
    own = attempt_span_id(job.job_id, job.fence) if isinstance(job, AttemptIds) else span_id(job.traceparent)
    return {
        "job_id": job.job_id,
        "conversation_id": job.conversation_id,
        "trace_id": trace_id(job.traceparent),
        "span_id": own if job.traceparent else None,
    }


def _millis(seconds: float) -> int:
    return round(seconds * 1000)
