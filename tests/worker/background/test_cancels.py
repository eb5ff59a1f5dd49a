"""Cancels: who is told to stop, with jobs in memory and a clock of the test's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cloudia.cloud.jobs import Jobs
from cloudia.worker.background.cancels import Cancels
from tests.worker.background.lines import AWAY, Line, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.clock import Clock


class Records(Jobs):
    """The jobs' records. A subclass, so that mypy holds it to the real one's signatures."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.wanted: set[str] = set()
        """The jobs that somebody wants stopped."""

    def cancel_requested(self, job_ids: Iterable[str]) -> set[str]:
        asked = list(job_ids)
        self.line.blocking(asked)
        return self.wanted.intersection(asked)


@pytest.fixture
async def line(clock: Clock) -> Line:
    return Line(clock)


@pytest.fixture
async def records(line: Line) -> Records:
    return Records(line)


@pytest.fixture
async def cancels(records: Records) -> Cancels:
    return Cancels(records)


@pytest.fixture
async def stopped() -> list[str]:
    """The jobs that were told to stop, in order."""
    return []


@pytest.fixture
async def watch(cancels: Cancels, stopped: list[str]) -> Callable[[str], None]:
    """Watch jobs."""
    return lambda job_id: cancels.watch(job_id, lambda: stopped.append(job_id))


async def test_all_jobs_in_work_are_asked_for_in_one_request_each_half_second(
    cancels: Cancels, line: Line, watch: Callable[[str], None]
) -> None:
    """Three jobs are one request every 0.5 s; a job that is dropped is asked for no more."""
    for job_id in "abc":
        watch(job_id)
    async with running(cancels.run()):
        await asyncio.sleep(1.2)
        cancels.drop("b")
        await asyncio.sleep(0.5)
    assert line.calls == [(0.5, ["a", "b", "c"]), (1.0, ["a", "b", "c"]), (1.5, ["a", "c"])]


async def test_it_is_idle_while_there_is_nothing_to_watch(
    cancels: Cancels, line: Line, watch: Callable[[str], None]
) -> None:
    """No request without a job in work."""
    async with running(cancels.run()):
        await asyncio.sleep(60)
        assert line.calls == []
        watch("a")
        cancels.drop("a")
        cancels.drop("never watched")
        await asyncio.sleep(60)
    assert line.calls == []


async def test_a_job_is_told_once(
    cancels: Cancels, records: Records, line: Line, stopped: list[str], watch: Callable[[str], None]
) -> None:
    """The flag stays, but the job is told once and watched no longer; the others go on."""
    watch("a")
    watch("b")
    async with running(cancels.run()):
        await asyncio.sleep(0.7)
        records.wanted.add("a")
        await asyncio.sleep(0.2)
        assert stopped == []
        await asyncio.sleep(1)
    assert stopped == ["a"]
    assert [asked for _, asked in line.calls] == [["a", "b"], ["a", "b"], ["b"]]


async def test_a_job_that_ends_while_it_is_asked_for_is_not_told(
    cancels: Cancels, records: Records, line: Line, stopped: list[str], watch: Callable[[str], None]
) -> None:
    """A request that is under way does not reach a job that was dropped meanwhile."""
    watch("a")
    watch("b")
    records.wanted |= {"a", "b"}
    line.seconds = 2
    async with running(cancels.run()):
        await asyncio.sleep(1)
        cancels.drop("a")
        await asyncio.sleep(2)
    assert stopped == ["b"]


@pytest.mark.parametrize("error", [AWAY, PermissionError("AccessDenied")])
async def test_a_flag_that_cannot_be_read_is_read_later(
    cancels: Cancels, records: Records, line: Line, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """I7: an outage, and also an error that no retry can mend, ends no watching, and fills no log."""
    stopped: list[str] = []
    cancels.watch("a", lambda: stopped.append("a"))
    records.wanted.add("a")
    line.error = error
    async with running(cancels.run()) as watching:
        await asyncio.sleep(5)
        assert not watching.done()
        assert stopped == []
        line.error = None
        await asyncio.sleep(0.6)
    assert stopped == ["a"]
    assert len(caplog.records) == (0 if error is AWAY else 1)


async def test_a_flag_is_seen_after_one_that_was_called_for_adds_another_job(
    cancels: Cancels, records: Records, stopped: list[str], watch: Callable[[str], None]
) -> None:
    """What is called may watch and drop jobs itself."""

    def stop() -> None:
        stopped.append("a")
        cancels.drop("b")
        watch("c")

    cancels.watch("a", stop)
    watch("b")
    records.wanted |= {"a", "c"}
    async with running(cancels.run()):
        await asyncio.sleep(1.1)
    assert stopped == ["a", "c"]
