"""Pages of a stack's jobs by their state, newest first: by the index of states, never by a scan."""

from __future__ import annotations

import heapq
from datetime import datetime
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from cloudia.cloud.items import decode_cursor, encode_cursor
from cloudia.errors import InvalidRequestError
from cloudia.operate.waterfall import waterfall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cloudia.cloud.cloud import Cloud
    from cloudia.cloud.job_index import JobState
    from cloudia.operate.waterfall import Waterfall
    from cloudia.protocol import Job

__all__ = ["job_page", "job_row", "rows"]


def job_page(
    cloud: Cloud, states: Sequence[JobState], *, limit: int, cursor: str | None = None
) -> tuple[list[Job], str | None]:
    """Return up to `limit` jobs of these states, the one that came into its state last first, and the next page's cursor.

    A job that goes into another state meanwhile may come twice, or on no page. `InvalidRequestError` for a cursor of others.
    """
    place, until = _place(cursor)
    entries = heapq.merge(
        *(_newest_first(cloud.jobs.each_in_state(state, since=0.0, until=until, page=limit + 1)) for state in states),
        reverse=True,
    )
    found = list(islice((entry for entry in entries if place is None or entry < place), limit + 1))
    records = cloud.jobs.records(job_id for _, job_id in found[:limit])
    following = encode_cursor(*found[limit - 1]) if len(found) > limit else None
    return [records[job_id] for _, job_id in found[:limit] if job_id in records], following


def _place(cursor: str | None) -> tuple[tuple[str, str] | None, float | None]:
    """Return the entry that a cursor stands at, and its time."""
    if not cursor:
        return None, None
    since, job_id = decode_cursor(cursor, 2)
    try:
        return (since, job_id), datetime.fromisoformat(since).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(
            "the cursor is not one of ours", hint="Use next_cursor of the page before, as it is.", code="bad_cursor"
        ) from error


def _newest_first(entries: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield `(state_since, job_id)`, newest first; those of one moment, which the index has in any order, by their ids."""
    for _, same in groupby(((since, job_id) for job_id, since in entries), key=lambda entry: entry[0]):
        yield from sorted(same, reverse=True)


def job_row(drawn: Waterfall) -> dict[str, Any]:
    """Return what a list shows of a job: no text of its message."""
    job = drawn.job
    return {
        "job_id": job.job_id,
        "conversation_id": job.conversation_id,
        "user_id": job.user_id,
        "status": job.status,
        "accepted_at": job.created_at,
        "seconds": round(max(0.0, drawn.seconds), 3),
        "queue_seconds": round(drawn.spent("queue"), 3),
        "attempts": job.attempts,
        "error": (job.error or {}).get("code"),
        "provider": job.provider,
        "model": job.model,
        "cost_usd": drawn.cost_usd,
    }


def rows(jobs: Iterable[Job], *, now: float, slower: float = 0.0) -> list[dict[str, Any]]:
    """Return the rows of jobs that took at least `slower` seconds."""
    drawn = (waterfall(job, now=now) for job in jobs)
    return [job_row(one) for one in drawn if one.seconds >= slower]
