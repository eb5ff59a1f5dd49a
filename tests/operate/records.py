"""Records of jobs, made up: who needs one says only what it is about."""

from __future__ import annotations

from typing import Any

from cloudia import ids
from cloudia.protocol import AttemptRecord, Job, JobStatus

T = 1_800_000_000.0
"""When they were accepted, in epoch seconds."""


def attempt(
    number: int, began: float, ended: float | None = None, *, first: float | None = None, **more: Any
) -> AttemptRecord:
    """Return an attempt; times are seconds since the acceptance."""
    return AttemptRecord(
        attempt=number,
        fence=number,
        worker_id=more.pop("worker_id", f"wrk_{number}"),
        began_at=T + began,
        first_text_at=None if first is None else T + first,
        ended_at=None if ended is None else T + ended,
        provider="openai",
        model="sim-1",
        **more,
    )


def failed(number: int, began: float, ended: float, *, delay: int | None, **more: Any) -> AttemptRecord:
    """Return an attempt at which the LLM was away."""
    outcome = "retried" if delay is not None else "dead_lettered"
    why = {"code": "llm_failed", "reason": "openai answered 500", **more}
    return attempt(number, began, ended, outcome=outcome, delay=delay, **why)


def job(status: JobStatus, *attempts: AttemptRecord, ended: float | None = None, **more: Any) -> Job:
    """Return a job, as its record has it."""
    return Job(
        **{
            "job_id": "job_1",
            "conversation_id": "cnv_1",
            "message_id": "msg_1",
            "user_id": "ada",
            "status": status,
            "created_at": ids.iso(T),
            "updated_at": None if ended is None else ids.iso(T + ended),
            "attempts": len(attempts),
            "attempt_history": attempts,
            **more,
        }
    )
