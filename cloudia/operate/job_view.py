"""One job as an operator sees it: its waterfall and its attempts. No I/O."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cloudia.ids import iso
from cloudia.operate.job_pages import job_row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudia.operate.waterfall import Part, Waterfall
    from cloudia.protocol import AttemptRecord

__all__ = ["attempts_view", "job_view"]


def job_view(drawn: Waterfall) -> dict[str, Any]:
    """Return a job with its parts; `at_seconds` is since it was accepted."""
    job = drawn.job
    return {
        **job_row(drawn),
        "ended_at": job.updated_at if job.ended else None,
        "message_id": job.message_id,
        "reply_message_id": job.reply_message_id,
        "finish": job.finish,
        "failure": job.error or None,
        "trace_id": job.trace_id,
        "parts": [_part(part, drawn) for part in drawn.parts],
        "attempt_history": attempts_view(job.attempt_history),
    }


def _part(part: Part, drawn: Waterfall) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "name": part.name,
        "at_seconds": round(max(0.0, part.began_at - drawn.began_at), 3),
        "seconds": round(part.seconds, 3),
        "within": part.within,
        "goes_on": part.goes_on,
        "skewed": part.skewed,
        "failed": part.failed,
        "outcome": part.outcome,
        "remarks": part.remarks,
    }


def attempts_view(attempts: Iterable[AttemptRecord]) -> list[dict[str, Any]]:
    """Return attempts, oldest first, their times as ISO 8601."""
    times = ("began_at", "first_text_at", "ended_at")
    return [
        {**asdict(each), **{name: iso(at) if (at := getattr(each, name)) else None for name in times}}
        for each in attempts
    ]
