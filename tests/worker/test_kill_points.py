"""Workers killed at each step; `python -m tests.worker.kill_points` does it fifty times each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import RunningStack, stop_stack
from tests.worker import kill_points

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def workerless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose workers are the tests' own."""
    running = kill_points.start(tmp_path_factory.mktemp("kills"))
    yield running
    stop_stack(running)


async def test_i1_i2_i3_i4_hold_wherever_a_worker_is_killed(workerless: RunningStack) -> None:
    """I1 to I4: workers killed with SIGKILL at each step; each message is answered once, in order, and its events are whole."""
    verdict = await kill_points.kill_at(workerless, *kill_points.STEPS, times=2)
    assert verdict.broken == {}
    assert (verdict.accepted, verdict.answered) == (12, 12)
