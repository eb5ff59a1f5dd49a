"""The circuit breaker of one provider and model: pybreaker's states over a true sliding window.

It opens at more than `errors` errors within `window` seconds where they are at least `share` of the calls that ended or
began to answer in it: a provider that cuts one answer in ten is better than none. It stays open for `open` seconds; then lets
one probe through at a time. A call that was cancelled counts as nothing, and a call that began before the breaker opened
neither opens it again nor closes it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pybreaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.telemetry.events import BreakerState

__all__ = ["Breaker", "Limits", "Permit"]


@dataclass(frozen=True, slots=True)
class Limits:
    """When a breaker opens, and for how long; times in seconds."""

    errors: int
    window: float
    open: float
    share: float = 0.0


class _Window(pybreaker.CircuitMemoryStorage):
    """Counts the errors of the last seconds, where pybreaker's own counts those since the last success."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        super().__init__(pybreaker.STATE_CLOSED)
        self._limits = limits
        self._clock = clock
        self._errors: deque[float] = deque()
        self._calls: deque[float] = deque()

    def increment_counter(self) -> None:
        """Note an error now."""
        self._errors.append(self._clock())

    def note_call(self) -> None:
        """Note a call that has succeeded or failed now."""
        self._calls.append(self._clock())

    def reset_counter(self) -> None:
        """Leave the errors as they are: pybreaker calls this at each success."""

    def clear(self) -> None:
        """Forget all errors and calls: the probe succeeded."""
        self._errors.clear()
        self._calls.clear()

    @property
    def errors(self) -> int:
        """The errors within the window."""
        return self._within(self._errors)

    @property
    def counter(self) -> int:
        """What pybreaker opens at: the errors, none while they are too small a share of the calls."""
        errors = self.errors
        return errors if errors >= self._limits.share * self._within(self._calls) else 0

    def _within(self, times: deque[float]) -> int:
        while times and times[0] <= self._clock() - self._limits.window:
            times.popleft()
        return len(times)


class Permit:
    """Leave to make one call. End it with `succeed`, `fail` or `abandon`; only the first of these counts."""

    def __init__(self, breaker: Breaker, *, probe: bool) -> None:
        self._breaker: Breaker | None = breaker
        self.probe = probe

    def succeed(self) -> None:
        """Learn that the provider answers."""
        if self._breaker:
            self._breaker.succeeded(self)
        self._breaker = None

    def fail(self) -> None:
        """Learn that the provider failed."""
        if self._breaker:
            self._breaker.failed(self)
        self._breaker = None

    def abandon(self) -> None:
        """Learn nothing of the provider: the call was cancelled, or refused for what it asked."""
        if self._breaker:
            self._breaker.abandoned(self)
        self._breaker = None


class Breaker:
    """A breaker. `enter` before each call; `on_change` is told of each new state."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        *,
        on_change: Callable[[str, BreakerState], None] = lambda _name, _state: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._limits = limits
        self._clock = clock
        self._on_change = on_change
        self._window = _Window(limits, clock)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=limits.errors + 1,
            reset_timeout=limits.open,
            state_storage=self._window,
            name=name,
            throw_new_error_on_trip=False,
        )
        self._opened_at = 0.0
        self._probing = False

    @property
    def state(self) -> BreakerState:
        """The state now."""
        return cast("BreakerState", self._breaker.current_state)

    @property
    def errors(self) -> int:
        """The errors within the window."""
        return self._window.errors

    @property
    def retry_after(self) -> float:
        """Seconds until a probe is let through; 0 where one may be now."""
        if self.state != "open":
            return 0.0
        return max(0.0, self._opened_at + self._limits.open - self._clock())

    def enter(self) -> Permit | None:
        """Return leave to make a call, None where the provider is to be left alone."""
        if self.state == "closed":
            return Permit(self, probe=False)
        if self.retry_after > 0 or self._probing:
            return None
        if self.state == "open":
            self._breaker.half_open()
            self._on_change(self.name, "half-open")
        self._probing = True
        return Permit(self, probe=True)

    def fail(self) -> None:
        """Count a failure of a call that had succeeded before: a stream that broke off. It is no other call."""
        self._fail(probe=False)

    def succeeded(self, permit: Permit) -> None:
        """Take a success; a probe's closes the breaker."""
        self._window.note_call()
        if permit.probe:
            self._probing = False
            self._window.clear()
            self._breaker.close()
            self._on_change(self.name, "closed")

    def failed(self, permit: Permit) -> None:
        """Take a failure; a probe's opens the breaker again, and so does one too many."""
        self._window.note_call()
        self._fail(probe=permit.probe)

    def _fail(self, *, probe: bool) -> None:
        if probe:
            self._probing = False
        elif self.state != "closed":
            return  # It began before the breaker opened, and says nothing new.
        try:
            self._breaker.call(_fail)
        except _FailedError:
            if self.state == "open":
                self._opened_at = self._clock()
                self._on_change(self.name, "open")

    def abandoned(self, permit: Permit) -> None:
        """Take a call that says nothing; the next one may probe."""
        if permit.probe:
            self._probing = False


class _FailedError(Exception):
    """Stands for the provider's failure."""


def _fail() -> None:
    raise _FailedError
