"""A waterfall: one message's parts over time, by its job's record. No I/O.

Times are of the workers' clocks, but for the moment it was accepted, which is the function's: a wait that comes out negative
counts as 0, and says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudia.protocol import AttemptRecord, Job

__all__ = ["Part", "PartKind", "Waterfall", "bar", "epoch", "lines", "shown", "waterfall"]

PartKind: TypeAlias = Literal["queue", "attempt", "first_text", "streaming", "back_off", "dead_letter", "span"]


_A_MINUTE_AND_A_HALF = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a message's way. Those of an attempt follow it, and lie within it."""

    kind: PartKind
    name: str
    began_at: float
    """Epoch seconds."""
    ended_at: float
    """That of now, where it goes on."""
    goes_on: bool = False
    skewed: bool = False
    """Whether its end came before its beginning, by the clocks of two machines."""
    outcome: str | None = None
    """How an attempt ended; `lost` where nobody recorded that: its worker died, or another one took the job."""
    told: str = ""
    """Why it failed, in a few words that quote no message."""
    attempt: AttemptRecord | None = None
    depth: int = 0
    """Of a span that a collector has: within how many others it is."""

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return self.ended_at - self.began_at

    @property
    def within(self) -> bool:
        """Whether it is a part of the attempt before it."""
        return self.kind in {"first_text", "streaming"} or self.depth > 0

    @property
    def remarks(self) -> list[str]:
        """What is worth saying of it: how an attempt ended that did not answer, what it passed over, whether it goes on."""
        how = (self.outcome or "").replace("_", " ") if self.outcome != "done" else ""
        words = [how, self.told, "goes on" if self.goes_on and not self.within else ""]
        if self.skewed:
            words.append("its times cannot be" if self.kind == "span" else "the clocks of two machines differ")
        switches = self.attempt.switches or () if self.attempt and self.kind == "attempt" else ()
        return [*filter(None, ["  ".join(filter(None, words))]), *(f"passed over {switch}" for switch in switches)]

    @property
    def failed(self) -> bool:
        """Whether it is an attempt that did not answer."""
        return self.outcome in {"retried", "failed", "dead_lettered", "lost"}


@dataclass(frozen=True, slots=True)
class Waterfall:
    """What one message's time went to."""

    job: Job
    parts: tuple[Part, ...]
    began_at: float
    """Epoch seconds: when it was accepted."""
    ended_at: float
    """When its job ended; that of now, where it has not."""

    @property
    def seconds(self) -> float:
        """From its acceptance to its end, or till now."""
        return self.ended_at - self.began_at

    def spent(self, *kinds: PartKind) -> float:
        """Return the seconds that all parts of these kinds took."""
        return sum(part.seconds for part in self.parts if part.kind in kinds)

    @property
    def cost_usd(self) -> float | None:
        """What all attempts cost, as far as it is known; None where nothing is."""
        known = [cost for each in self.job.attempt_history if (cost := (each.usage or {}).get("cost_usd")) is not None]
        return sum(known) if known else None


def waterfall(job: Job, *, now: float) -> Waterfall:
    """Return the parts of a message's way until `now` (epoch seconds), in the order of their beginnings."""
    accepted = epoch(job.created_at)
    end = epoch(job.updated_at) if job.ended and job.updated_at else max(now, accepted)
    parts = tuple(_parts(job, accepted, end))
    last = max((part.ended_at for part in parts), default=end)
    return Waterfall(job, parts, accepted, max(end, last) if job.ended else end)


def epoch(time: str) -> float:
    """Return the epoch seconds of a time as records have it."""
    return datetime.fromisoformat(time).timestamp()


def shown(seconds: float) -> str:
    """Return `120 ms`, `4.2 s` or `3.5 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < _A_MINUTE_AND_A_HALF else f"{seconds / 60:.1f} min"


def bar(part: Part, drawn: Waterfall, width: int, *, full: str = "█", thin: str = "▏") -> str:
    """Return the part's bar at its place among `width` columns; what is too short to be seen is `thin`."""
    scale = width / drawn.seconds if drawn.seconds else 0.0
    first = max(0, min(width - 1, math.floor((part.began_at - drawn.began_at) * scale)))
    length = round(part.seconds * scale)
    return " " * first + (full * min(length, width - first) if length else thin)


def lines(drawn: Waterfall, *, width: int = 36) -> Iterator[str]:
    """Yield it as plain text: a part a line of 63 columns, what is told of it below."""
    yield f"{drawn.job.status.replace('_', ' ')} after {shown(drawn.seconds)}"
    for part in drawn.parts:
        name = f"  {part.name}" if part.within else part.name
        yield f"{name:<16}{shown(part.seconds):>9}  {bar(part, drawn, width)}"
        yield from (f"    {told}" for told in part.remarks)


def _parts(job: Job, accepted: float, end: float) -> Iterator[Part]:
    at, attempts = accepted, job.attempt_history
    before: AttemptRecord | None = None
    for number, attempt in enumerate(attempts):
        yield from _until(attempt.began_at, at, before, goes_on=False)
        following = attempts[number + 1].began_at if number + 1 < len(attempts) else end
        goes_on = attempt.ended_at is None and number + 1 == len(attempts) and not job.ended
        at = attempt.ended_at if attempt.ended_at is not None else max(following, attempt.began_at)
        yield from _attempt(attempt, at, goes_on=goes_on)
        before = attempt
    if not job.ended and (before is None or before.ended_at is not None):
        yield from _until(end, at, before, goes_on=True)
    elif job.ended and (before is None or before.outcome in {"retried", "handed_back"}):  # It ended while it waited.
        yield _part("queue", "queue", at, end, told=(job.error or {}).get("code") or "")


def _until(began: float, at: float, before: AttemptRecord | None, *, goes_on: bool) -> Iterator[Part]:
    """Yield what lies between an attempt's end (or the acceptance) and the next one's beginning (or now)."""
    if before and before.outcome == "dead_lettered":
        yield _part("dead_letter", "dead letter", at, began, goes_on=goes_on)
        return
    if before and before.delay is not None:
        over = at + before.delay
        if goes_on and began < over:
            yield _part("back_off", f"back-off {before.delay} s", at, began, goes_on=True)
            return
        over = min(over, max(began, at))
        yield _part("back_off", f"back-off {before.delay} s", at, over)
        at = over
    yield _part("queue", "queue", at, began, goes_on=goes_on)


def _attempt(attempt: AttemptRecord, ended: float, *, goes_on: bool) -> Iterator[Part]:
    lost = attempt.ended_at is None and not goes_on
    told = ": ".join(filter(None, [attempt.code, attempt.reason]))
    yield _part(
        "attempt",
        f"attempt {attempt.attempt or '?'}",
        attempt.began_at,
        ended,
        goes_on=goes_on,
        outcome="lost" if lost else attempt.outcome,
        told="its worker died, or another one took the job" if lost else told,
        attempt=attempt,
    )
    if attempt.first_text_at is not None:
        yield _part("first_text", "first text", attempt.began_at, attempt.first_text_at, attempt=attempt)
        yield _part("streaming", "streaming", attempt.first_text_at, ended, goes_on=goes_on, attempt=attempt)


def _part(
    kind: PartKind,
    name: str,
    began: float,
    ended: float,
    *,
    goes_on: bool = False,
    outcome: str | None = None,
    told: str = "",
    attempt: AttemptRecord | None = None,
) -> Part:
    return Part(
        kind=kind,
        name=name,
        began_at=began,
        ended_at=max(began, ended),
        goes_on=goes_on,
        skewed=ended < began,
        outcome=outcome,
        told=told,
        attempt=attempt,
    )
