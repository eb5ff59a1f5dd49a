"""What the provider was asked and how it ended: counters and the last thousand requests, without any message text."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from cloudia.sim.llm.prompts import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudia.sim.llm.prompts import Provider

__all__ = ["MAX_RECORDS", "OUTCOMES", "Ledger", "Outcome", "Record"]

Outcome = Literal[
    "answered", "refused", "disconnected", "played", "status", "hang", "timeout", "slow", "cut", "garbage"
]
"""How a request ended. One that a case answered or a fault struck says so, also if the client then went away."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
MAX_RECORDS = 1_000
_MAX_CHARACTERS = 200  # kept of anything a client chose


@dataclass(slots=True)
class Record:
    """One chat request. `started_at` is in epoch seconds; `began` in seconds of the clock that only grows."""

    sequence: int
    api: Provider
    started_at: float
    began: float
    request_id: str | None
    job_id: str | None
    attempt: str | None
    model: str | None = None
    stream: bool = False
    outcome: Outcome = "disconnected"
    completion_tokens: int = 0

    @property
    def request_name(self) -> str:
        """Return the id that the response's header gives the request."""
        return f"req_{self.sequence:08d}"

    def to_json(self, now: float) -> dict[str, Any]:
        """Return the record of a request that ends `now`; `duration` is in seconds."""
        return {
            "sequence": self.sequence,
            "api": self.api,
            "model": self.model,
            "stream": self.stream,
            "outcome": self.outcome,
            "started_at": round(self.started_at, 3),
            "duration": round(now - self.began, 3),
            "completion_tokens": self.completion_tokens,
            "request_id": self.request_id,
            "job_id": self.job_id,
            "attempt": self.attempt,
        }


class Ledger:
    """Requests under way and ended. `clock` returns seconds that only grow, `wall` epoch seconds."""

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._begun = 0
        self._forgotten = 0
        self._by_api: Counter[Provider] = Counter()
        self._by_outcome: Counter[Outcome] = Counter()
        self._ended: deque[dict[str, Any]] = deque(maxlen=MAX_RECORDS)
        self.in_flight = 0

    def reset(self) -> int:
        """Forget all requests, also those under way, and return how many had ended."""
        total = self._by_outcome.total()
        self._by_api.clear()
        self._by_outcome.clear()
        self._ended.clear()
        self._forgotten = self._begun
        return total

    def begin(self, api: Provider, headers: Mapping[str, str]) -> Record:
        """Open the record of a request."""
        self._begun += 1
        self.in_flight += 1

        def header(name: str) -> str | None:
            value = headers.get(name)
            return value[:_MAX_CHARACTERS] if value else None

        return Record(
            self._begun,
            api,
            self._wall(),
            self._clock(),
            request_id=header("x-request-id"),
            job_id=header("x-cloudia-job-id"),
            attempt=header("x-cloudia-attempt"),
        )

    def asked(self, record: Record, model: str, *, stream: bool) -> None:
        """Note what a request asks for, once that is known."""
        record.model = model[:_MAX_CHARACTERS]
        record.stream = stream

    def end(self, record: Record) -> dict[str, Any]:
        """Close the record of a request and return it."""
        self.in_flight -= 1
        ended = record.to_json(self._clock())
        if record.sequence > self._forgotten:
            self._by_api[record.api] += 1
            self._by_outcome[record.outcome] += 1
            self._ended.append(ended)
        return ended

    def to_json(self) -> dict[str, Any]:
        """Return the counters and the last records, the oldest first."""
        return {
            "total": self._by_outcome.total(),
            "in_flight": self.in_flight,
            "by_api": {api: self._by_api[api] for api in PROVIDERS},
            "by_outcome": {outcome: self._by_outcome[outcome] for outcome in OUTCOMES},
            "records": list(self._ended),
        }
