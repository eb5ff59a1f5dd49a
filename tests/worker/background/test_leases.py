"""Leases: renewal and loss, with jobs in memory and a clock of the test's."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from cloudia.cloud.job_records import Lease, LostLeaseError
from cloudia.cloud.jobs import Jobs
from cloudia.protocol import Job
from cloudia.worker.background.leases import Leases
from cloudia.worker.background.refusals import Refusals
from tests.worker.background.lines import AWAY, Line, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.clock import Clock

SECONDS = 30.0


class Records(Jobs):
    """The jobs' records. A subclass, so that mypy holds it to the real one's signatures."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.fences: dict[str, int] = {}
        """The highest fence of each job that was leased again."""
        self.slow: dict[str, float] = {}
        """How many seconds more the renewal of a job takes."""

    def renew(self, lease: Lease, seconds: float) -> None:
        self.line.blocking((lease.job.job_id, lease.fence, seconds))
        if lease.job.job_id in self.slow:
            self.line.clock.spend(self.slow[lease.job.job_id])
        if self.fences.get(lease.job.job_id, lease.fence) > lease.fence:
            raise LostLeaseError(lease.job.job_id)


@pytest.fixture
async def line(clock: Clock) -> Line:
    return Line(clock)


@pytest.fixture
async def records(line: Line) -> Records:
    return Records(line)


@pytest.fixture
async def leases(records: Records, refusals: Refusals, clock: Clock) -> Leases:
    return Leases(records, refusals, seconds=SECONDS, clock=clock.time)


@pytest.fixture
async def lost() -> list[str]:
    """The jobs whose leases were lost, in order."""
    return []


@pytest.fixture
async def hold(leases: Leases, lost: list[str], clock: Clock) -> Callable[..., Lease]:
    """Take leases, which from now on are held."""

    def hold(job_id: str, *, fence: int = 1) -> Lease:
        job = Job(job_id, "cnv", "msg", "alice", "running", "2026-01-01T00:00:00Z")
        lease = Lease(job, "wrk", fence, clock.time() + SECONDS)
        leases.hold(lease, lambda: lost.append(f"{job_id} {fence}"))
        return lease

    return hold


async def test_each_lease_is_renewed_at_a_third_of_its_time(
    leases: Leases, line: Line, lost: list[str], hold: Callable[..., Lease]
) -> None:
    """A lease of 30 s is renewed every 10 s, for 30 s, until it is dropped."""
    async with running(leases.run()):
        first = hold("a")
        await asyncio.sleep(15)
        hold("b")
        await asyncio.sleep(10)
        leases.drop(first)
        await asyncio.sleep(10)
    assert line.calls == [
        (10, ("a", 1, SECONDS)),
        (20, ("a", 1, SECONDS)),
        (20, ("b", 1, SECONDS)),
        (30, ("b", 1, SECONDS)),
    ]
    assert lost == []


async def test_a_worker_without_leases_asks_nothing(leases: Leases, line: Line) -> None:
    """Where no lease is held the table is left alone."""
    async with running(leases.run()):
        await asyncio.sleep(100)
    assert line.calls == []


async def test_a_lease_that_another_worker_has_is_lost_once(
    leases: Leases, records: Records, line: Line, lost: list[str], hold: Callable[..., Lease]
) -> None:
    """The renewal is refused: its attempt is told once, the lease is renewed no more, the others are."""
    hold("a")
    hold("b")
    records.fences["a"] = 2
    async with running(leases.run()):
        await asyncio.sleep(25)
    assert lost == ["a 1"]
    assert [what[0] for _, what in line.calls] == ["a", "b", "b"]


async def test_a_short_outage_loses_no_lease(
    leases: Leases, line: Line, lost: list[str], hold: Callable[..., Lease]
) -> None:
    """A renewal that fails is tried again a third later; the lease still has time."""
    hold("a")
    async with running(leases.run()):
        line.error = AWAY
        await asyncio.sleep(25)
        line.error = None
        await asyncio.sleep(40)
        assert lost == []
        line.error = AWAY  # The last renewal, at 60 s, counts for 30 s more.
        await asyncio.sleep(24)
        assert lost == []


async def test_a_lease_that_cannot_be_renewed_in_its_time_is_lost(
    leases: Leases, line: Line, lost: list[str], hold: Callable[..., Lease]
) -> None:
    """With the table away, the attempt is told within a second after its lease ran out, once, and renewed no more."""
    async with running(leases.run()):
        await asyncio.sleep(5)
        hold("a")  # until 35 s
        line.error = AWAY
        await asyncio.sleep(29.9)
        assert lost == []
        await asyncio.sleep(1.2)
        assert lost == ["a 1"]
        await asyncio.sleep(20)
        assert lost == ["a 1"]
    assert [at for at, _ in line.calls] == [10, 20, 30]


async def test_i7_two_thousand_jobs_hold_their_leases_where_each_call_takes_a_second(
    clock: Clock, records: Records, refusals: Refusals, line: Line, lost: list[str]
) -> None:
    """I7: the most jobs of a worker, at the usual lease: for five minutes no lease goes 60 s without a renewal."""
    leases = Leases(records, refusals, seconds=60, clock=clock.time)
    for number in range(2000):
        job = Job(f"j{number}", "cnv", "msg", "alice", "running", "2026-01-01T00:00:00Z")
        leases.hold(Lease(job, "wrk", 1, clock.time() + 60), lambda name=job.job_id: lost.append(name))  # type: ignore[misc]
    line.seconds = 1
    async with running(leases.run()):
        await asyncio.sleep(300)
    assert lost == []
    renewed: dict[str, list[float]] = {}
    for at, (job_id, *_) in line.calls:
        renewed.setdefault(job_id, [0.0]).append(at)
    assert len(renewed) == 2000
    assert max(later - at for times in renewed.values() for at, later in pairwise([*times, 300.0])) < 59


async def test_i7_a_renewal_that_hangs_holds_up_no_other(
    leases: Leases, records: Records, line: Line, lost: list[str], hold: Callable[..., Lease]
) -> None:
    """I7: while one renewal takes longer than the lease, the others are renewed in time; the one that hangs is given up."""
    hold("slow")
    hold("a")
    records.slow["slow"] = 100
    async with running(leases.run()):
        await asyncio.sleep(95)
    assert lost == ["slow 1"]
    assert [at for at, what in line.calls if what[0] == "a"] == [10 * times for times in range(1, 10)]


async def test_a_renewal_counts_from_when_it_was_asked_for(
    leases: Leases, line: Line, lost: list[str], hold: Callable[..., Lease]
) -> None:
    """A renewal that takes 6 s holds the lease for 24 s from when it is answered, for nobody knows when it was written."""
    hold("a")
    async with running(leases.run()):
        line.seconds = 6
        await asyncio.sleep(17)  # asked for at 10 s, so it holds until 40 s
        line.seconds, line.error = 0, AWAY
        await asyncio.sleep(22)  # 26, 36
        assert lost == []
        await asyncio.sleep(10)  # 46
        assert lost == ["a 1"]


async def test_one_lease_that_is_slow_to_fail_does_not_hide_that_others_ran_out(
    leases: Leases, line: Line, lost: list[str], hold: Callable[..., Lease]
) -> None:
    """With twenty leases and an outage in which each renewal takes 9 s to fail, all are lost soon after they ran out."""
    for number in range(20):
        hold(f"j{number}")
    line.seconds, line.error = 9, AWAY
    async with running(leases.run()):
        await asyncio.sleep(SECONDS + 9.5)
        assert len(lost) == 20


async def test_what_is_dropped_while_it_is_renewed_is_not_lost(
    leases: Leases, records: Records, line: Line, lost: list[str], hold: Callable[..., Lease]
) -> None:
    """A job that ends while its renewal is under way makes that be refused; nobody is told, and nothing is renewed again."""
    for error in (None, AWAY):
        line.error, line.calls = error, []
        first = hold("a")
        records.fences["a"] = 2
        async with running(leases.run()):
            line.seconds = 3
            await asyncio.sleep(11)
            leases.drop(first)
            await asyncio.sleep(60)
        assert len(line.calls) == 1
        assert lost == []


@pytest.mark.parametrize("refused", [True, False])
async def test_the_next_lease_of_a_job_is_held_whatever_becomes_of_a_renewal_of_the_last(
    leases: Leases, records: Records, line: Line, lost: list[str], hold: Callable[..., Lease], *, refused: bool
) -> None:
    """An attempt is given back and the job leased again while the first lease is being renewed: the second lease lives on."""
    first = hold("a")
    async with running(leases.run()):
        line.seconds = 3
        await asyncio.sleep(11)
        leases.drop(first)
        hold("a", fence=2)
        records.fences["a"] = 2 if refused else 1
        await asyncio.sleep(2.5)
        line.seconds = 0
        await asyncio.sleep(15)
    assert lost == []
    assert [what[1] for _, what in line.calls] == [1, 2]


async def test_dropping_an_old_lease_leaves_the_jobs_new_one(
    leases: Leases, line: Line, lost: list[str], hold: Callable[..., Lease]
) -> None:
    """A lease is dropped by its fence, not by its job."""
    first = hold("a")
    hold("a", fence=2)
    leases.drop(first)
    async with running(leases.run()):
        await asyncio.sleep(11)
    assert [what[1] for _, what in line.calls] == [2]


async def test_what_dynamodb_refuses_for_good_ends_only_what_it_concerns(
    leases: Leases, line: Line, lost: list[str], hold: Callable[..., Lease]
) -> None:
    """I7: an error that no retry can mend is as an outage for its lease; the others are renewed when it is over."""
    hold("a")
    line.error = PermissionError("AccessDenied")
    async with running(leases.run()) as renewing:
        await asyncio.sleep(41)
        assert not renewing.done()
        assert lost == ["a 1"]
        line.error = None
        hold("b")
        await asyncio.sleep(10)
    assert line.calls[-1] == (50, ("b", 1, SECONDS))
