"""Cancels: who is told to stop, with jobs and a channel in memory and a clock of the test's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cloudia.cloud.jobs import Jobs
from cloudia.cloud.stops import Stops
from cloudia.errors import UnavailableError
from cloudia.worker.background.cancels import Cancels
from tests.worker.background.lines import AWAY, Line, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

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


class Channel(Stops):
    """The channel of stops. A subclass, so that mypy holds it to the real one's signatures."""

    def __init__(self) -> None:
        self.away = False
        self.subscriptions = 0
        self._published: asyncio.Queue[str | None] = asyncio.Queue()

    async def publish(self, job_id: str) -> None:
        self._published.put_nowait(job_id)

    def cut(self) -> None:
        """Break the subscription off; while it is away there is no other."""
        self.away = True
        self._published.put_nowait(None)

    async def published(self, *, subscribed: asyncio.Event) -> AsyncGenerator[str, None]:
        assert not subscribed.is_set()
        self.subscriptions += 1
        while not self.away and (job_id := await self._published.get()):
            yield job_id
        raise UnavailableError("Redis cannot be reached", code="redis_unavailable")


@pytest.fixture
async def line(clock: Clock) -> Line:
    return Line(clock)


@pytest.fixture
async def records(line: Line) -> Records:
    return Records(line)


@pytest.fixture
async def cancels(records: Records) -> Cancels:
    return Cancels(records, None, poll_seconds=0.5)


@pytest.fixture
async def channel() -> Channel:
    return Channel()


@pytest.fixture
async def told(records: Records, channel: Channel) -> Cancels:
    """One that is told of stops, and polls each minute."""
    return Cancels(records, channel, poll_seconds=60)


@pytest.fixture
async def stopped() -> list[str]:
    """The jobs that were told to stop, in order."""
    return []


@pytest.fixture
async def watch(cancels: Cancels, stopped: list[str]) -> Callable[[str], None]:
    """Watch jobs."""
    return lambda job_id: cancels.watch(job_id, lambda: stopped.append(job_id))


async def test_all_jobs_in_work_are_asked_for_in_one_request_each_time(
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


# --- what Redis tells ----------------------------------------------------------------------------------------------------


async def test_a_stop_that_is_published_is_seen_at_once(
    told: Cancels, channel: Channel, records: Records, line: Line, stopped: list[str]
) -> None:
    """Its record is read, and no other's; the poll goes on as slowly as before."""
    for job_id in "ab":
        told.watch(job_id, lambda job_id=job_id: stopped.append(job_id))  # type: ignore[misc]
    async with running(told.run()):
        await asyncio.sleep(7)
        records.wanted.add("a")
        await channel.publish("a")
        await asyncio.sleep(0.01)
        assert stopped == ["a"]
        await asyncio.sleep(60)
    assert line.calls == [(7.0, ["a"]), (60.0, ["b"])]


async def test_what_is_published_is_no_order(told: Cancels, channel: Channel, line: Line, stopped: list[str]) -> None:
    """The record alone says that a job shall stop; a job that is not in work here costs no request."""
    told.watch("a", lambda: stopped.append("a"))
    async with running(told.run()):
        for job_id in ("a", "another worker's", "no id"):
            await channel.publish(job_id)
        await asyncio.sleep(10)
    assert stopped == []
    assert line.calls == [(0.0, ["a"])]


async def test_stops_of_the_same_moment_are_one_request(
    told: Cancels, channel: Channel, records: Records, line: Line, stopped: list[str]
) -> None:
    """What is published while a request is under way is the next one's, however slow DynamoDB is."""
    for job_id in "abcd":
        told.watch(job_id, lambda job_id=job_id: stopped.append(job_id))  # type: ignore[misc]
        records.wanted.add(job_id)
    line.seconds = 3
    async with running(told.run()):
        await channel.publish("a")
        await asyncio.sleep(1)
        for job_id in "bcdb":
            await channel.publish(job_id)
        await asyncio.sleep(6)
    assert sorted(stopped) == ["a", "b", "c", "d"]
    assert [(at, sorted(asked)) for at, asked in line.calls] == [(0.0, ["a"]), (3.0, ["b", "c", "d"])]


@pytest.mark.parametrize("error", [AWAY, PermissionError("AccessDenied")])
async def test_a_stop_whose_record_cannot_be_read_is_seen_by_the_poll(
    told: Cancels, channel: Channel, records: Records, line: Line, error: Exception
) -> None:
    """I7: nothing is asked again and again, and nothing is lost."""
    stopped: list[str] = []
    told.watch("a", lambda: stopped.append("a"))
    records.wanted.add("a")
    line.error = error
    async with running(told.run()):
        await channel.publish("a")
        await asyncio.sleep(1)
        line.error = None
        await asyncio.sleep(58)
        assert stopped == []
        await asyncio.sleep(2)
    assert stopped == ["a"]
    assert len(line.calls) == 2


async def test_without_redis_a_stop_is_polled_for(
    told: Cancels, channel: Channel, records: Records, stopped: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """I8: while Redis is away a stop is seen by the poll; once it is back, at once again. The log says it once."""
    told.watch("a", lambda: stopped.append("a"))
    told.watch("b", lambda: stopped.append("b"))
    async with running(told.run()):
        await asyncio.sleep(1)
        channel.cut()
        await asyncio.sleep(1)
        records.wanted.add("a")
        await asyncio.sleep(60)
        assert stopped == ["a"]
        assert 20 < channel.subscriptions < 40
        channel.away = False
        await asyncio.sleep(2)
        records.wanted.add("b")
        await channel.publish("b")
        await asyncio.sleep(0.01)
    assert stopped == ["a", "b"]
    assert [record.getMessage() for record in caplog.records] == ["stops are polled for"]
