"""Which messages' spans are kept though nobody sampled them: those that failed, and those that were slow. No I/O.

Each process decides by what it knows when its part is over, and waits for no other: a worker at the end of an attempt, a
gateway at a job's last frame, a function when it has accepted. An attempt whose number is higher than 1 says that one before it
failed, wherever that was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudia import ids
from cloudia.telemetry.events import AttemptFailed, AttemptStopped, JobEnded

if TYPE_CHECKING:
    from cloudia.telemetry.events import FrameDelivered, Happening

__all__ = ["ends_attempt", "is_kept", "is_kept_delivery"]


def ends_attempt(event: Happening) -> bool:
    """Tell whether nothing of its attempt follows. A failure with which the job ends is followed by that end."""
    return isinstance(event, JobEnded | AttemptStopped) or (
        isinstance(event, AttemptFailed) and event.delay is not None
    )


def is_kept(end: Happening, slow_seconds: float) -> bool:
    """Tell, by the event with which it ends, whether an attempt's spans are kept."""
    if not isinstance(end, JobEnded):
        return True  # It failed, or its worker lost it: what comes next is late.
    failed = end.status in {"failed", "dead_lettered"}
    return failed or end.job.attempt > 1 or end.at - end.accepted_at > slow_seconds


def is_kept_delivery(last: FrameDelivered, slow_seconds: float) -> bool:
    """Tell, by a job's last frame, whether the span of its delivery is kept. A job's id says when it was accepted."""
    if last.kind == "error" or (last.attempt or 1) > 1:
        return True
    made = ids.made_at(last.job_id) if last.job_id else None
    return made is not None and last.at - made > slow_seconds
