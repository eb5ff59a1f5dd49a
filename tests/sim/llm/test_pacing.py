"""When tokens are due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloudia.sim.llm.pacing import Pace

SECONDS = st.floats(0, 1_000)


@given(st.floats(0, 1e6), SECONDS, st.floats(0, 1e6), st.integers(0, 100_000))
def test_no_drift(start: float, ttft: float, tps: float, token: int) -> None:
    """Every token is due at its own time counted from the start, up to a grid of 5 ms, however many came before."""
    pace = Pace.of(start, ttft, tps)
    exact = start + ttft + (token / max(tps, 1 / 3_600) if tps else 0)
    slack = 1e-9 * max(1.0, exact)
    assert exact - slack <= pace.due(token) <= exact + 0.005 + slack


@given(SECONDS, SECONDS, st.floats(0, 1e6), SECONDS)
def test_what_is_ready_was_due(start: float, ttft: float, tps: float, later: float) -> None:
    """No token is ready before its time, and none that is due is left out."""
    pace = Pace.of(start, ttft, tps)
    ready = pace.ready(start + later, 500)
    assert 0 <= ready <= 500
    exact = [start + ttft + token * pace.gap for token in range(500)]
    assert all(due <= start + later + 1e-6 for due in exact[:ready])
    assert all(due >= start + later - 1e-6 for due in exact[ready:])
