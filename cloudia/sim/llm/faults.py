"""How the provider is to fail: faults, each with a reach and an end, and the book that says which one strikes now."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from cloudia.sim.llm import fields
from cloudia.sim.llm.dice import fraction
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.prompts import PROVIDERS
from cloudia.sim.llm.settings import MAX_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.sim.llm.prompts import Provider

__all__ = ["KINDS", "MAX_FAULTS", "MAX_WINDOW", "Fault", "FaultBook", "Kind", "parse"]

Kind = Literal["status", "hang", "timeout", "slow", "cut", "garbage"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_FAULTS = 100
MAX_WINDOW = 7 * 86_400.0  # seconds

_COMMON = {"kind", "rate", "count", "for", "provider", "model"}
_OWN = {
    "status": {"status", "retry_after"},
    "hang": set[str](),
    "timeout": {"delay"},
    "slow": {"factor"},
    "cut": {"after_tokens"},
    "garbage": set[str](),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail, and whom it strikes.

    status   answers `status` (400 to 599, 500 unless told) at once, with a Retry-After of `retry_after` seconds
    hang     takes the request and never answers
    timeout  stays silent for `delay` seconds (30), then answers 504
    slow     takes `factor` times as long (5) to the first token and for each token
    cut      closes the connection after `after_tokens` tokens (5); without streaming, instead of the answer
    garbage  answers 200 with bytes that are neither JSON nor the events of the API

    It strikes the fraction `rate` of the requests that match `provider` and `model` (any, if None), `count` times at
    most and for `seconds` at most (without end, if None; called `for` in JSON).
    """

    kind: Kind
    status: int = 500
    retry_after: float | None = None
    delay: float = 30.0
    factor: float = 5.0
    after_tokens: int = 5
    rate: float = 1.0
    count: int | None = None
    seconds: float | None = None
    provider: Provider | None = None
    model: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that mean something for this kind, as `parse` takes them."""
        named = asdict(self)
        named["for"] = named.pop("seconds")
        return {name: value for name, value in named.items() if name in _COMMON | _OWN[self.kind]}


def parse(data: dict[str, Any]) -> Fault:
    """Return the fault that `data` describes. Raises FieldError."""
    kind = next((kind for kind in KINDS if kind == data.get("kind")), None)
    if kind is None:
        raise FieldError("kind", f"must be one of {', '.join(KINDS)}")
    fields.known(data, _COMMON | _OWN[kind])
    name = fields.text(data, "provider")
    provider = next((provider for provider in PROVIDERS if provider == name), None)
    if name is not None and provider is None:
        raise FieldError("provider", f"must be one of {', '.join(PROVIDERS)}")
    given = {
        "status": fields.integer(data, "status", least=400, most=599),
        "delay": fields.number(data, "delay", most=MAX_SECONDS),
        "factor": fields.number(data, "factor", least=1, most=1_000),
        "after_tokens": fields.integer(data, "after_tokens", least=0, most=1_000_000),
        "rate": fields.number(data, "rate", most=1),
    }
    return Fault(
        kind,
        retry_after=fields.number(data, "retry_after", most=MAX_SECONDS),
        count=fields.integer(data, "count", least=1),
        seconds=fields.number(data, "for", most=MAX_WINDOW),
        provider=provider,
        model=fields.text(data, "model"),
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )


@dataclass(slots=True)
class _Entry:
    """A fault in the book, and what it has done."""

    fault_id: int
    fault: Fault
    ends: float | None
    considered: int = 0
    struck: int = 0

    def over(self, now: float) -> bool:
        """Return whether it can strike no more."""
        return self.struck == self.fault.count or (self.ends is not None and now >= self.ends)

    def fits(self, provider: Provider, model: str) -> bool:
        """Return whether such a request is among those it may strike."""
        return self.fault.provider in {None, provider} and self.fault.model in {None, model}

    def to_json(self, now: float) -> dict[str, Any]:
        """Return the fault, its id, what it has done and what is left of it."""
        count = self.fault.count
        return self.fault.to_json() | {
            "id": self.fault_id,
            "struck": self.struck,
            "remaining_count": None if count is None else count - self.struck,
            "remaining_seconds": None if self.ends is None else round(self.ends - now, 3),
        }


class FaultBook:
    """The active faults in the order they came. `clock` returns seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: list[_Entry] = []
        self._added = 0

    def add(self, fault: Fault) -> dict[str, Any]:
        """Put `fault` at the end and return its entry. Raises FieldError if the book is full."""
        now = self._clock()
        self._entries = self._active(now)
        if len(self._entries) >= MAX_FAULTS:
            raise FieldError("", f"there are {MAX_FAULTS} faults already")
        self._added += 1
        entry = _Entry(self._added, fault, None if fault.seconds is None else now + fault.seconds)
        self._entries.append(entry)
        return entry.to_json(now)

    def entries(self) -> list[dict[str, Any]]:
        """Return the faults that can still strike."""
        now = self._clock()
        return [entry.to_json(now) for entry in self._active(now)]

    def clear(self) -> int:
        """Forget all faults and return how many could still strike. Ids, and with them the draws, begin anew."""
        active = len(self._active(self._clock()))
        self._entries = []
        self._added = 0
        return active

    def strike(self, provider: Provider, model: str, seed: int) -> Fault | None:
        """Return the first fault that strikes this request; None if it is spared.

        A fault's `rate` is a draw from `seed`, its id and the number of requests it has been considered for.
        """
        self._entries = self._active(self._clock())
        for entry in self._entries:
            if not entry.fits(provider, model):
                continue
            entry.considered += 1
            if fraction(seed, entry.fault_id, entry.considered) < entry.fault.rate:
                entry.struck += 1
                return entry.fault
        return None

    def _active(self, now: float) -> list[_Entry]:
        return [entry for entry in self._entries if not entry.over(now)]
