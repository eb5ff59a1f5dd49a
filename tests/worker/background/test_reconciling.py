"""Reconciling on a schedule, with doubles in memory and a clock of the test's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cloudia.cloud.presence import Presence
from cloudia.operate.reconciler import Reconciled, Reconciler
from cloudia.worker.background.reconciling import Reconciling
from tests.worker.background.lines import AWAY, Line, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clock import Clock


class Duties(Presence):
    """Duties that note who asks. A subclass, so that mypy holds it to the real one's signatures."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.free = True

    def take_duty(self, duty: str, part_id: str, seconds: float) -> bool:
        self.line.blocking((duty, part_id, seconds))
        return self.free


class Jobs(Reconciler):
    """A reconciler with so many jobs to do. Likewise a subclass."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.left = 0

    def run(self) -> Iterator[Reconciled]:
        while self.left:
            self.left -= 1
            self.line.blocking("job")
            yield Reconciled(f"job_{self.left}", "sent", 301.0, 1)


@pytest.fixture
async def line(clock: Clock) -> Line:
    return Line(clock)


@pytest.fixture
async def duties(line: Line) -> Duties:
    return Duties(line)


@pytest.fixture
async def jobs(line: Line) -> Jobs:
    return Jobs(line)


@pytest.fixture
async def reconciling(duties: Duties, jobs: Jobs) -> Reconciling:
    return Reconciling(jobs, duties, worker_id="wrk_1", after_seconds=300)


async def test_it_asks_for_the_duty_at_a_fifth_of_the_time(reconciling: Reconciling, line: Line, jobs: Jobs) -> None:
    """Each minute of five it asks for a minute, and does what there is."""
    jobs.left = 2
    async with running(reconciling.run()):
        await asyncio.sleep(130)
    duty = ("reconciler", "wrk_1", 60.0)
    assert line.calls == [(60, duty), (60, "job"), (60, "job"), (120, duty)]


async def test_without_the_duty_it_does_nothing(
    reconciling: Reconciling, line: Line, duties: Duties, jobs: Jobs
) -> None:
    """Another worker does it."""
    jobs.left, duties.free = 2, False
    async with running(reconciling.run()):
        await asyncio.sleep(61)
    assert [what for _, what in line.calls] == [("reconciler", "wrk_1", 60.0)]


@pytest.mark.parametrize("error", [AWAY, ValueError("refused for good")], ids=["away", "refused"])
async def test_an_error_does_not_end_it(reconciling: Reconciling, line: Line, jobs: Jobs, error: Exception) -> None:
    """Whatever AWS says: it is tried again, and the worker goes on."""
    jobs.left, line.error = 1, error
    async with running(reconciling.run()):
        await asyncio.sleep(130)
        line.error = None
        await asyncio.sleep(60)
    assert [what for _, what in line.calls].count("job") == 1


async def test_i7_a_stop_is_waited_for_by_one_job_and_no_more(
    reconciling: Reconciling, line: Line, jobs: Jobs, clock: Clock
) -> None:
    """I7: a thousand jobs are to be done, a second each; a worker that ends leaves them to the next one."""
    jobs.left = 1000
    task = asyncio.create_task(reconciling.run())
    await asyncio.sleep(59)
    line.seconds = 1.0
    await asyncio.sleep(4.5)
    task.cancel()
    await asyncio.wait({task})
    await asyncio.sleep(100)
    assert jobs.left >= 995
