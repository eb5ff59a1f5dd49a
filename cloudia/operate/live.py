"""How a stack is now: who is alive, what waits, and how the messages of the last minute ended, by the index of states."""

from __future__ import annotations

import math
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from cloudia.cloud.job_index import ENDS
from cloudia.errors import UnavailableError
from cloudia.operate.samples import ended_job
from cloudia.operate.waterfall import waterfall

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudia.cloud.cloud import Cloud
    from cloudia.cloud.queue import JobQueue
    from cloudia.protocol import Job

__all__ = ["WINDOW_SECONDS", "live", "percentiles"]

WINDOW_SECONDS = 60
_MOST_COUNTED = 2000
"""Ends of each kind that one look counts at most."""
_MOST_READ = 200
"""Records that one look reads for latencies and cost, at most: the last that ended."""


def live(cloud: Cloud, *, now: float) -> dict[str, Any]:
    """Return a look at `now` (epoch seconds). Times are milliseconds where the name does not say seconds; null is not known.

    `UnavailableError` where DynamoDB is away; where SQS is, its numbers are null.
    """
    workers, gateways = cloud.presence.alive("worker"), cloud.presence.alive("gateway")
    since = now - WINDOW_SECONDS
    ended = {state: list(islice(cloud.jobs.each_in_state(state, since=since), _MOST_COUNTED)) for state in ENDS}
    last = sorted((entry for entries in ended.values() for entry in entries), key=lambda entry: entry[1])[-_MOST_READ:]
    records = [job for job in cloud.jobs.records(job_id for job_id, _ in last).values() if job.ended]
    oldest = cloud.jobs.oldest_open()
    return {
        "status": "ok" if workers else "degraded",
        "window_seconds": WINDOW_SECONDS,
        "queue": _queue(cloud.queue),
        "dead_letters": (_queue(cloud.dead_letters) or {}).get("total"),
        "oldest_open_seconds": max(0.0, round(now - datetime.fromisoformat(oldest).timestamp(), 3)) if oldest else None,
        "ended": {state: len(entries) for state, entries in ended.items()},
        "latencies": _latencies(records),
        "cost_usd": _cost(records, now),
        "workers": workers,
        "gateways": gateways,
    }


def _queue(queue: JobQueue) -> dict[str, int] | None:
    try:
        stats = queue.stats()
    except UnavailableError:
        return None
    return {"waiting": stats.visible + stats.delayed, "in_flight": stats.in_flight, "total": stats.total}


def _latencies(records: Iterable[Job]) -> dict[str, dict[str, float] | None]:
    """Return the times of answers: waiting, to the first text of the last attempt, and in all. Others' say little."""
    done = [ended_job(job) for job in records if job.status == "done"]
    return {
        "waited_ms": percentiles([job.waited_ms for job in done if job.waited_ms is not None]),
        "first_text_ms": percentiles([job.first_token_ms for job in done if job.first_token_ms is not None]),
        "total_ms": percentiles([job.total_ms for job in done]),
    }


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return `p50` and `p95` by the nearest rank, never below 0 (two clocks may differ); None of nothing."""
    if not values:
        return None
    ordered = sorted(max(0.0, value) for value in values)
    return {f"p{part}": ordered[math.ceil(len(ordered) * part / 100) - 1] for part in (50, 95)}


def _cost(records: Iterable[Job], now: float) -> float | None:
    known = [cost for job in records if (cost := waterfall(job, now=now).cost_usd) is not None]
    return round(sum(known), 9) if known else None
