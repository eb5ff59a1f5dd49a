"""What a running stack looks like at one moment: its parts, its queues, who is alive, and which jobs ended. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudia.protocol import Job

__all__ = ["EndedJob", "PartSample", "Sample", "Sampler", "ended_job"]


@dataclass(frozen=True, slots=True)
class PartSample:
    """One part of a local stack."""

    name: str
    state: str
    pid: int | None
    resident_bytes: int | None
    restarts: int
    detail: str


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that has ended, as its record says. Times in milliseconds; None is what the record does not know."""

    job_id: str
    time: str
    """When it ended, ISO 8601."""
    status: str
    attempt: int
    waited_ms: float | None
    """From the 202 to the beginning of its last attempt."""
    first_token_ms: float | None
    """From there to its first text."""
    total_ms: float
    """From the 202 to the end."""
    tokens: int | None
    worker: str
    """Who ended it: a worker's id, or the part that it is."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The stack at one moment; `jobs` are those that ended since the sample before. None is what could not be asked."""

    at: float
    """Seconds of a clock that only grows."""
    state: str
    parts: tuple[PartSample, ...]
    """Empty where the stack runs elsewhere."""
    visible: int | None
    in_flight: int | None
    dead_letters: int | None
    health: Mapping[str, Any] | None
    """`workers` and `gateways` that are alive, as `GET /health` shows them."""
    jobs: tuple[EndedJob, ...]


class Sampler(Protocol):
    """Where samples come from."""

    def sample(self) -> Sample:
        """Look at the stack. Blocks; raises `CloudiaError` where none runs."""

    def trace(self, job_id: str) -> Sequence[str]:
        """Return what is known of a job's way, line by line, in the order of the times. Blocks."""


def ended_job(job: Job) -> EndedJob:
    """Return a job that has ended."""
    last = job.attempt_history[-1] if job.attempt_history else None
    accepted = datetime.fromisoformat(job.created_at).timestamp()
    ended_at = job.updated_at or job.created_at
    return EndedJob(
        job_id=job.job_id,
        time=ended_at,
        status=job.status,
        attempt=job.attempts,
        waited_ms=_millis(last.began_at - accepted) if last else None,
        first_token_ms=_millis(last.first_text_at - last.began_at) if last and last.first_text_at else None,
        total_ms=_millis(datetime.fromisoformat(ended_at).timestamp() - accepted),
        tokens=int(job.usage["output_tokens"]) if job.usage and "output_tokens" in job.usage else None,
        worker=last.worker_id if last else "",
    )


def _millis(seconds: float) -> int:
    return round(seconds * 1000)
