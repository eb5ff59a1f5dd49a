"""Allowances: the decision, and that what is accepted is counted once, whoever writes at the same moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.cloud.allowances import Allowance, Limits
from cloudia.cloud.items import from_item, to_item
from cloudia.cloud.job_records import Lease
from cloudia.errors import TooManyRequestsError
from tests.support import make_cloud

if TYPE_CHECKING:
    from cloudia.protocol import QueuedJob
    from tests.support import Cloud, RunningStack

NOW = 1_800_000_000.0


# --- the decision ----------------------------------------------------------------------------------------------------


def test_a_minutes_messages_may_come_at_once_and_then_evenly() -> None:
    """Of six a minute six go at once; the seventh after 10 s, and it is told so."""
    limits, allowance = Limits(messages_per_minute=6), Allowance()
    for number in range(6):
        allowance = allowance.taken(f"job{number}", now=NOW, limits=limits)
    with pytest.raises(TooManyRequestsError) as refused:
        allowance.taken("job", now=NOW + 1, limits=limits)
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, "too_many_messages", 9)
    assert "9 s" in refused.value.hint
    allowance = allowance.taken("job", now=NOW + 10, limits=limits)
    with pytest.raises(TooManyRequestsError):
        allowance.taken("job", now=NOW + 11, limits=limits)


@given(st.lists(st.floats(0, 30), max_size=200), st.integers(1, 50))
def test_in_no_minute_are_more_accepted_than_twice_the_limit(pauses: list[float], most: int) -> None:
    """A full bucket and what flows in meanwhile; who waits as long as it was told is let in."""
    limits, allowance, now, taken = Limits(messages_per_minute=most), Allowance(), NOW, list[float]()
    for pause in pauses:
        now += pause
        try:
            allowance = allowance.taken("job", now=now, limits=limits)
        except TooManyRequestsError as refused:
            now += refused.retry_after
            allowance = allowance.taken("job", now=now, limits=limits)
        taken.append(now)
    assert all(sum(at <= other < at + 60 for other in taken) <= 2 * most for at in taken)


def test_jobs_in_flight_are_let_go_when_they_have_ended() -> None:
    """Two at most: the third is refused until one of them is known to have ended."""
    limits = Limits(jobs_per_user=2)
    allowance = Allowance().taken("a", now=NOW, limits=limits).taken("b", now=NOW, limits=limits)
    assert allowance.full(limits)
    with pytest.raises(TooManyRequestsError) as refused:
        allowance.taken("c", now=NOW, limits=limits)
    assert refused.value.code == "too_many_jobs"
    assert allowance.without({"a"}).taken("c", now=NOW, limits=limits).open_jobs == ("b", "c")


def test_what_is_not_limited_is_not_kept() -> None:
    """0 is no limit, and an item of a user says nothing of jobs then."""
    allowance = Allowance()
    for number in range(500):
        allowance = allowance.taken(f"job{number}", now=NOW, limits=Limits(messages_per_minute=1000))
    assert allowance.open_jobs == ()
    assert not Limits().any


def test_an_item_is_what_was_written() -> None:
    """An allowance comes back from DynamoDB as it was; the key names nobody."""
    allowance = Allowance(3, NOW + 0.25, ("a", "b"))
    item = allowance.item("alice")
    assert Allowance.of(from_item(to_item(item))) == allowance
    assert "alice" not in item["key"]


# --- with DynamoDB ---------------------------------------------------------------------------------------------------


async def at_once(cloud: Cloud, messages: int, user: str) -> tuple[list[QueuedJob], list[TooManyRequestsError]]:
    """Accept messages of a user at the same moment. Return the jobs and the refusals."""

    def accept(number: int) -> QueuedJob | TooManyRequestsError:
        try:
            return cloud.accept(f"message {number}", user=user)
        except TooManyRequestsError as error:
            return error

    found = await asyncio.gather(*(asyncio.to_thread(accept, number) for number in range(messages)))
    refused = [each for each in found if isinstance(each, TooManyRequestsError)]
    return [each for each in found if not isinstance(each, TooManyRequestsError)], refused


async def test_no_more_are_accepted_at_once_than_may_be_in_flight(stack: RunningStack) -> None:
    """Twenty at the same moment where five may be: five jobs, fifteen refusals; each that ends makes room for one."""
    cloud = make_cloud(stack, limits_jobs_per_user=5)
    jobs, refused = await at_once(cloud, 20, "many")
    while len(jobs) < 5 and all(
        error.code == "too_many_requests" for error in refused
    ):  # They met each other too often.
        more, refused = await at_once(cloud, 5, "many")
        jobs += more
    assert len(jobs) == 5
    assert cloud.accept("of another").user_id == "alice"
    with pytest.raises(TooManyRequestsError, match="are being answered"):
        cloud.accept("one more", user="many")
    lease = cloud.jobs.lease(jobs[0].job_id, "wrk", 30)
    assert isinstance(lease, Lease)
    cloud.jobs.finish(lease, "done", content="answer")
    assert cloud.accept("now", user="many").user_id == "many"
    with pytest.raises(TooManyRequestsError):
        cloud.accept("and again", user="many")


async def test_a_message_that_is_sent_again_is_counted_once(stack: RunningStack) -> None:
    """The same key is the same job: neither counted nor refused, also where nothing is left."""
    cloud = make_cloud(stack, limits_messages_per_minute=1)
    given: dict[str, Any] = {
        "user_id": "alice",
        "content": "once",
        "conversation_id": None,
        "session_id": None,
        "idempotency_key": "key",
        "traceparent": "",
    }
    first, _ = cloud.intake.accept(**given)
    again, _ = cloud.intake.accept(**given)
    assert again.job_id == first.job_id
    with pytest.raises(TooManyRequestsError, match="within a minute"):
        cloud.accept("another")
