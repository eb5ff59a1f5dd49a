"""What a stack's messages have cost: the attempts in the records of its jobs, summed by model, user, conversation or day.

Jobs are found by the index of states and never by a scan; a record is kept for 30 days.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cloudia.cloud.job_index import ENDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cloudia.cloud.job_index import JobState
    from cloudia.cloud.jobs import Jobs
    from cloudia.prices.llm import LlmPrices
    from cloudia.protocol import AttemptRecord, Job

__all__ = ["By", "Cost", "costs", "jobs_since", "total"]

_PAGE = 100
By: TypeAlias = Literal["model", "user", "conversation", "day"]


@dataclass(slots=True)
class Cost:
    """What belongs together: attempts that may have been paid, and what is known of them."""

    name: str
    jobs: set[str] = field(default_factory=set)
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the input: read from a cache."""
    dollars: Decimal = Decimal(0)
    unknown: int = 0
    """Attempts whose cost nobody knows: their model has no price here, or their worker died."""
    estimated: int = 0
    """Attempts with requests whose tokens were estimated, because they broke off."""

    def to_json(self) -> dict[str, Any]:
        """Return it, its messages as a number."""
        return {
            "name": self.name,
            "messages": len(self.jobs),
            "attempts": self.attempts,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached_tokens,
            "cost_usd": float(round(self.dollars, 12)),
            "unknown_attempts": self.unknown,
            "estimated_attempts": self.estimated,
        }

    def add(self, job: Job, attempt: AttemptRecord, prices: LlmPrices) -> None:
        """Count an attempt."""
        usage = attempt.usage or {}
        dollars = _dollars(attempt, prices)
        self.jobs.add(job.job_id)
        self.attempts += 1
        self.input_tokens += _tokens(usage, "input_tokens")
        self.output_tokens += _tokens(usage, "output_tokens")
        self.cached_tokens += int(usage.get("cache_read_tokens", 0))
        self.estimated += "estimated_requests" in usage
        self.unknown += dollars is None
        self.dollars += dollars or 0


def jobs_since(jobs: Jobs, since: float) -> Iterator[Job]:
    """Yield the jobs that are open, or have ended since a time (epoch seconds), each once. Blocks."""
    # Those that end meanwhile are found twice: the second time they are whole.
    open_jobs = {job.job_id: job for job in _records(jobs, "open", 0.0)}
    for state in ENDS:
        for job in _records(jobs, state, since):
            open_jobs.pop(job.job_id, None)
            yield job
    yield from open_jobs.values()


def _records(jobs: Jobs, state: JobState, since: float) -> Iterator[Job]:
    entries = jobs.each_in_state(state, since=since)
    while page := [job_id for job_id, _ in islice(entries, _PAGE)]:
        yield from jobs.records(page).values()


def costs(jobs: Iterable[Job], by: By, *, since: float, prices: LlmPrices) -> list[Cost]:
    """Return the costs of attempts that ended since a time (epoch seconds), the dearest first; days in their order.

    An attempt costs what its record says; one that has no cost there, what prices of one's own make of its tokens.
    """
    found: dict[str, Cost] = {}
    for job in jobs:
        for attempt in job.attempt_history:
            under_way = attempt.ended_at is None and not job.ended and attempt is job.attempt_history[-1]
            if under_way or (attempt.ended_at or attempt.began_at) < since or not _may_be_paid(attempt):
                continue
            name = _name(job, attempt, by)
            found.setdefault(name, Cost(name)).add(job, attempt, prices)
    if by == "day":
        return sorted(found.values(), key=lambda cost: cost.name)
    return sorted(found.values(), key=lambda cost: (-cost.dollars, cost.name))


def total(found: Iterable[Cost]) -> Cost:
    """Return all of these together."""
    whole = Cost("total")
    for each in found:
        whole.jobs |= each.jobs
        whole.dollars += each.dollars
        for name in ("attempts", "input_tokens", "output_tokens", "cached_tokens", "unknown", "estimated"):
            setattr(whole, name, getattr(whole, name) + getattr(each, name))
    return whole


def _may_be_paid(attempt: AttemptRecord) -> bool:
    """Tell whether a provider was asked and began to answer, or nobody knows, because the attempt's worker died."""
    return attempt.usage is not None or attempt.outcome is None


def _name(job: Job, attempt: AttemptRecord, by: By) -> str:
    match by:
        case "model":
            return f"{attempt.provider} {attempt.model}" if attempt.model else "(nobody knows)"
        case "user":
            return job.user_id
        case "conversation":
            return job.conversation_id
        case "day":
            return datetime.fromtimestamp(attempt.ended_at or attempt.began_at, UTC).date().isoformat()


def _dollars(attempt: AttemptRecord, prices: LlmPrices) -> Decimal | None:
    usage = attempt.usage
    if usage is None:
        return None
    if "cost_usd" in usage:
        return Decimal(repr(usage["cost_usd"]))
    price = prices.own(attempt.provider or "", attempt.model or "")
    if price is None:
        return None
    parts = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    taken, given, read, written, reasoning = (_tokens(usage, name) for name in parts)
    return price.cost(taken, given, cache_read_tokens=read, cache_write_tokens=written, reasoning_tokens=reasoning)


def _tokens(usage: Mapping[str, float], name: str) -> int:
    """Return the tokens of a kind: those that were told, and those that are estimated beside them."""
    return int(usage.get(name, 0) + usage.get(f"estimated_{name}", 0))
