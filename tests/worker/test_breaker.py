"""The breaker, held against a plain model."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloudia.worker.breaker import Breaker, Limits, Permit

LIMITS = Limits(errors=5, window=10.0, open=30.0)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_the_sixth_error_within_ten_seconds_opens() -> None:
    """More than 5 errors within 10 s open the breaker, whatever succeeds between; 5 do not."""
    clock = Clock()
    breaker = Breaker("openai sim", LIMITS, clock=clock)
    for _ in range(5):
        permit, other = breaker.enter(), breaker.enter()
        assert permit
        assert other
        permit.fail()
        other.succeed()
        clock.now += 1
    assert breaker.retry_after == 0
    last = breaker.enter()
    assert last
    last.fail()
    assert breaker.state == "open"
    assert breaker.retry_after == 30
    assert breaker.enter() is None


def test_errors_that_lie_further_apart_do_not_open() -> None:
    """Six errors in more than 10 s leave it closed: the window slides."""
    clock = Clock()
    breaker = Breaker("openai sim", LIMITS, clock=clock)
    for _ in range(50):
        permit = breaker.enter()
        assert permit
        permit.fail()
        clock.now += 2.01
    assert breaker.state == "closed"


class AgainstAModel(RuleBasedStateMachine):
    """Calls that begin, succeed, fail and are cancelled in any order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.changes: list[str] = []
        self.breaker = Breaker(
            "p m", LIMITS, clock=self.clock, on_change=lambda _name, state: self.changes.append(state)
        )
        self.calls: list[tuple[Permit, bool, int]] = []  # permit, probe, the model's epoch at its begin
        self.state = "closed"
        self.errors: list[float] = []
        self.opened_at = 0.0
        self.probing = False

    @rule()
    def enter(self) -> None:
        """A call is let through exactly where the model lets it."""
        permit = self.breaker.enter()
        if self.state == "closed":
            assert permit
            assert not permit.probe
        elif self.probing or (self.state == "open" and self.clock.now < self.opened_at + LIMITS.open):
            assert permit is None
            return
        else:
            assert permit
            assert permit.probe
            self.state, self.probing = "half-open", True
        self.calls.append((permit, permit.probe, 0))

    def _take(self, data: st.DataObject) -> tuple[Permit, bool]:
        permit, probe, _ = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        return permit, probe

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        """A probe that succeeds closes; any other success changes nothing."""
        permit, probe = self._take(data)
        permit.succeed()
        permit.fail()  # only the first end counts
        if probe:
            self.state, self.probing, self.errors = "closed", False, []

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """A probe that fails opens; an error in the closed state counts."""
        permit, probe = self._take(data)
        permit.fail()
        permit.succeed()  # only the first end counts
        now = self.clock.now
        if probe:
            self.state, self.probing, self.opened_at = "open", False, now
            self.errors.append(now)
        elif self.state == "closed":
            self.errors = [at for at in [*self.errors, now] if at > now - LIMITS.window]
            if len(self.errors) > LIMITS.errors:
                self.state, self.opened_at = "open", now

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        """A call that was cancelled counts as nothing; the next one may probe."""
        permit, probe = self._take(data)
        permit.abandon()
        if probe:
            self.probing = False

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 9.9, 10.0, 29.0, 30.0, 31.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @invariant()
    def same_state(self) -> None:
        """The breaker is in the model's state, and only one probe is ever out."""
        assert self.breaker.state == self.state
        assert sum(probe for _, probe, _ in self.calls) <= 1


AgainstAModel.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestBreaker = AgainstAModel.TestCase
