"""Jobs: accepted once, leased to one worker at a time, ended once, in the real DynamoDB API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from cloudia import ids
from cloudia.cloud import intake as intake_module
from cloudia.cloud import jobs as jobs_module
from cloudia.cloud import transactions as transactions_module
from cloudia.cloud.intake import Intake
from cloudia.cloud.items import from_item, to_item
from cloudia.cloud.job_index import JobState
from cloudia.cloud.job_records import Ended, Held, Lease, LostLeaseError, Reopened, Unknown
from cloudia.cloud.jobs import Jobs
from cloudia.errors import ConflictError, NotFoundError, UnavailableError
from cloudia.protocol import TERMINAL_STATUSES, AttemptRecord, JobStatus, Message, QueuedJob
from tests.cloud.clocks import Clock
from tests.support import Cloud, RunningStack, make_cloud

T = TypeVar("T")

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
DAY = 86_400


@pytest.fixture(scope="module")
def cloud(stack: RunningStack) -> Cloud:
    """One cloud for this file: every test has users and jobs of its own."""
    return make_cloud(stack)


@pytest.fixture
def own_cloud(stack: RunningStack) -> Cloud:
    """A cloud of one test's, whose jobs are all of them."""
    return make_cloud(stack)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(4_000_000_000.25)
    for module in (intake_module, jobs_module, transactions_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


def accept(intake: Intake, **changes: Any) -> tuple[QueuedJob, bool]:
    fields: dict[str, Any] = {
        "user_id": "alice",
        "content": "hello",
        "conversation_id": None,
        "session_id": None,
        "idempotency_key": None,
        "traceparent": TRACEPARENT,
        **changes,
    }
    return intake.accept(**fields)


def leased(jobs: Jobs, job_id: str, owner: str = "wrk_1", seconds: float = 60) -> Lease:
    outcome = jobs.lease(job_id, owner, seconds)
    assert isinstance(outcome, Lease), outcome
    return outcome


def new_lease(cloud: Cloud) -> Lease:
    return leased(cloud.jobs, accept(cloud.intake)[0].job_id)


def count(cloud: Cloud, name: str) -> int:
    return int(cloud.aws.dynamodb.scan(TableName=name, Select="COUNT")["Count"])


def record(cloud: Cloud, job_id: str) -> dict[str, Any]:
    key = to_item({"job_id": job_id})
    return from_item(cloud.aws.dynamodb.get_item(TableName=cloud.stack.jobs.name, Key=key)["Item"])


def messages(cloud: Cloud, job: QueuedJob) -> list[Message]:
    page = cloud.history.messages(job.user_id, job.conversation_id, limit=100)
    assert page.next_cursor is None
    return list(page.items)


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """Do something in many threads that begin at the same moment."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


class Faulty:
    """A DynamoDB client whose `name` fails: `before` or `after` it was done, for as often as `times` says."""

    def __init__(self, client: Any, name: str, error: Exception, *, times: int = 1, done: bool = False) -> None:
        self._client, self._name, self._error, self._times, self._done = client, name, error, times, done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name != self._name or self._times == 0:
            return method

        def fails(**arguments: Any) -> Any:
            self._times -= 1
            if self._done:
                method(**arguments)
            raise self._error

        return fails


def aws_error(code: str, **more: Any) -> ClientError:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}, **more}
    return ClientError(response, "Any")


# --- accepting -------------------------------------------------------------------------------------------------------


def test_a_first_message_begins_a_conversation(cloud: Cloud) -> None:
    """Conversation, job and message are written together, and the queue's message says all that a worker needs."""
    job, unsent = accept(cloud.intake, user_id="first", content="  What is\tthis? \n\nMore", session_id="ses_x")
    assert unsent
    assert ids.is_id(job.job_id, "job")
    assert ids.is_id(job.conversation_id, "cnv")
    assert ids.job_id(job.message_id) == job.job_id
    assert (job.user_id, job.session_id, job.previous_message_id) == ("first", "ses_x", None)
    assert job.traceparent == TRACEPARENT
    assert abs(job.accepted_at - time.time()) < 60
    stored = cloud.jobs.get(job.job_id, "first")
    assert (stored.status, stored.attempts, stored.trace_id, stored.error) == ("queued", 0, TRACE, None)
    (message,) = messages(cloud, job)
    assert (message.role, message.content, message.job_id) == ("user", job.content, job.job_id)
    assert message.message_id == job.message_id
    (conversation,) = cloud.history.conversations("first", limit=10).items
    assert (conversation.conversation_id, conversation.title) == (job.conversation_id, "What is this?")
    assert conversation.created_at == conversation.updated_at == stored.created_at
    assert record(cloud, job.job_id)["expires_at"] == int(job.accepted_at) + 30 * DAY


def test_a_second_turn_follows_the_first(cloud: Cloud, clock: Clock) -> None:
    """It knows the message before it, moves the conversation up, and leaves its title alone."""
    first, _ = accept(cloud.intake, user_id="second")
    clock.now += 60
    second, _ = accept(cloud.intake, user_id="second", content="more", conversation_id=first.conversation_id)
    assert second.conversation_id == first.conversation_id
    assert second.previous_message_id == first.message_id
    assert second.message_id > ids.reply_id(first.message_id)
    assert [message.content for message in messages(cloud, first)] == ["hello", "more"]
    (conversation,) = cloud.history.conversations("second", limit=10).items
    assert conversation.title == "hello"
    assert conversation.updated_at > conversation.created_at


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("word " * 40, "word " * 10 + "word…"),
        ("x" * 100, "x" * 59 + "…"),
        ("x" * 60, "x" * 60),
        ("\n\n a\r\n b", "a"),
        ("👩‍👩‍👧‍👦 emoji", "👩‍👩‍👧‍👦 emoji"),
    ],
)
def test_a_title_is_the_first_line_in_short(cloud: Cloud, content: str, title: str) -> None:
    """At most 60 characters, cut at a word where there is one."""
    job, _ = accept(cloud.intake, content=content)
    key = to_item({"user_id": "alice", "conversation_id": job.conversation_id})
    item = cloud.aws.dynamodb.get_item(TableName=cloud.stack.conversations.name, Key=key)["Item"]
    assert from_item(item)["title"] == title
    assert len(title) <= 60


def test_long_content_and_emoji_come_back(cloud: Cloud) -> None:
    """30 KB, characters of every plane, and control characters are recorded as they were sent."""
    content = "👩‍👩‍👧‍👦 \x00\x1b \uffff é\r\n" + "é" * 15_000
    job, _ = accept(cloud.intake, user_id="long", content=content)
    assert [message.content for message in messages(cloud, job)] == [content]
    reply = cloud.jobs.finish(leased(cloud.jobs, job.job_id), "done", content=content * 2)
    assert messages(cloud, job)[1] == reply
    assert reply.content == content * 2


def test_a_conversation_of_someone_else_does_not_exist(cloud: Cloud) -> None:
    """I5: another user's conversation and none at all are the same refusal, and nothing is written."""
    theirs, _ = accept(cloud.intake, user_id="owner")
    before = [count(cloud, table.name) for table in cloud.stack.tables]
    refusals = []
    for conversation_id in (theirs.conversation_id, ids.conversation_id()):
        with pytest.raises(NotFoundError) as refused:
            accept(cloud.intake, user_id="mallory", conversation_id=conversation_id, idempotency_key="k")
        refusals.append(refused.value.to_json())
    assert refusals[0] == refusals[1]
    assert [count(cloud, table.name) for table in cloud.stack.tables] == before
    assert len(messages(cloud, theirs)) == 1


def test_a_refused_write_leaves_nothing(cloud: Cloud) -> None:
    """All four writes or none: where DynamoDB cancels the transaction, nothing of the message is there."""
    before = [count(cloud, table.name) for table in cloud.stack.tables]
    reasons = [{"Code": "None"}, {"Code": "ThrottlingError"}, {"Code": "None"}, {"Code": "None"}]
    error = aws_error("TransactionCanceledException", CancellationReasons=reasons)
    faulty: Any = Faulty(cloud.aws.dynamodb, "transact_write_items", error)
    with pytest.raises(UnavailableError) as away:
        accept(Intake(faulty, cloud.stack), idempotency_key="refused")
    assert away.value.code == "aws_unavailable"
    assert [count(cloud, table.name) for table in cloud.stack.tables] == before


# --- idempotency -----------------------------------------------------------------------------------------------------


def test_the_same_key_is_the_same_job(cloud: Cloud) -> None:
    """A request that is sent again gets its first answer, and is sent to the queue only while no worker has begun it."""
    asked: dict[str, Any] = {"user_id": "again", "idempotency_key": "k1", "session_id": "ses_x"}
    first, unsent = accept(cloud.intake, **asked)
    assert unsent
    again, still_unsent = accept(cloud.intake, **asked)
    assert again == first
    assert still_unsent
    leased(cloud.jobs, first.job_id)
    begun, resend = accept(cloud.intake, **asked)
    assert begun == first
    assert not resend
    assert len(messages(cloud, first)) == 1
    assert len(cloud.history.conversations("again", limit=10).items) == 1


def test_the_same_key_in_a_conversation(cloud: Cloud) -> None:
    """The same within a conversation, even after other turns were accepted there."""
    first, _ = accept(cloud.intake, user_id="chatty")
    asked: dict[str, Any] = {"user_id": "chatty", "conversation_id": first.conversation_id, "idempotency_key": "k"}
    second, _ = accept(cloud.intake, content="two", **asked)
    accept(cloud.intake, user_id="chatty", conversation_id=first.conversation_id, content="three")
    assert accept(cloud.intake, content="two", **asked)[0] == second
    assert [message.content for message in messages(cloud, first)] == ["hello", "two", "three"]


@pytest.mark.parametrize("change", [{"content": "other"}, {"conversation_id": True}])
def test_a_key_for_another_message_is_a_conflict(cloud: Cloud, change: dict[str, Any]) -> None:
    """A key stands for one message: other text, or another conversation, is refused and nothing is written."""
    user = f"conflict-{next(iter(change))}"
    job, _ = accept(cloud.intake, user_id=user, idempotency_key="k")
    if "conversation_id" in change:
        change = {"conversation_id": job.conversation_id}
    with pytest.raises(ConflictError) as refused:
        accept(cloud.intake, user_id=user, idempotency_key="k", **change)
    assert refused.value.code == "idempotency_conflict"
    assert len(messages(cloud, job)) == 1


def test_keys_of_two_users_do_not_meet(cloud: Cloud) -> None:
    """I5: the same key of another user is another key."""
    one, _ = accept(cloud.intake, user_id="key-1", idempotency_key="k")
    other, unsent = accept(cloud.intake, user_id="key-2", idempotency_key="k", content="other")
    assert unsent
    assert other.job_id != one.job_id


@pytest.mark.parametrize("late", [0.0, 0.5, 1.0, 60.0])
def test_a_key_is_free_again_after_a_day(cloud: Cloud, clock: Clock, late: float) -> None:
    """Until then it replays; afterwards it stands for a new message. At no moment is it neither."""
    user = f"day-{late}"
    clock.now = 4_000_000_000.5
    first, _ = accept(cloud.intake, user_id=user, idempotency_key="k")
    clock.now += DAY - 1
    assert accept(cloud.intake, user_id=user, idempotency_key="k")[0] == first
    clock.now = 4_000_000_000 + DAY + late
    again, _ = accept(cloud.intake, user_id=user, idempotency_key="k")
    assert (again == first) == (late < 1)


def test_a_replay_needs_no_conversation_and_no_message(cloud: Cloud) -> None:
    """A request that is sent again after its conversation was deleted still gets its first answer."""
    first, _ = accept(cloud.intake, user_id="tidy")
    asked: dict[str, Any] = {"user_id": "tidy", "conversation_id": first.conversation_id, "idempotency_key": "k"}
    job, _ = accept(cloud.intake, **asked)
    for message in messages(cloud, job):
        key = {"conversation_id": job.conversation_id, "message_id": message.message_id}
        cloud.aws.dynamodb.delete_item(TableName=cloud.stack.messages.name, Key=to_item(key))
    key = {"user_id": "tidy", "conversation_id": job.conversation_id}
    cloud.aws.dynamodb.delete_item(TableName=cloud.stack.conversations.name, Key=to_item(key))
    assert accept(cloud.intake, **asked)[0] == job
    with pytest.raises(NotFoundError):
        accept(cloud.intake, **{**asked, "idempotency_key": "another"})


# --- accepting at the same moment ------------------------------------------------------------------------------------


def test_twenty_messages_at_once_are_twenty_turns(cloud: Cloud) -> None:
    """I3: all are accepted, none twice, and each knows the one before it: a chain without a gap."""
    first, _ = accept(cloud.intake, user_id="busy", content="0")
    accepted = at_once(
        20,
        lambda number: accept(
            cloud.intake, user_id="busy", content=str(number + 1), conversation_id=first.conversation_id
        ),
    )
    assert all(unsent for _, unsent in accepted)
    turns = sorted([first, *(job for job, _ in accepted)], key=lambda job: job.message_id)
    assert len({job.job_id for job in turns}) == 21
    assert [job.previous_message_id for job in turns] == [None, *(job.message_id for job in turns[:-1])]
    assert [message.content for message in messages(cloud, first)] == [job.content for job in turns]


@pytest.mark.parametrize("within", [False, True])
def test_one_key_at_once_is_one_job(cloud: Cloud, within: bool) -> None:
    """I2: ten requests with one key, at the same moment, are one job and one message."""
    user = f"hasty-{within}"
    started, _ = accept(cloud.intake, user_id=user) if within else (None, False)
    accepted = at_once(
        10,
        lambda _: accept(
            cloud.intake,
            user_id=user,
            content="once",
            idempotency_key="k",
            conversation_id=started.conversation_id if started else None,
        )[0],
    )
    assert all(job == accepted[0] for job in accepted)
    assert [message.content for message in messages(cloud, accepted[0])] == (["hello"] if within else []) + ["once"]
    assert len(cloud.history.conversations(user, limit=10).items) == 1


def test_a_conversation_that_never_rests_is_said_to_be_busy(cloud: Cloud, clock: Clock) -> None:
    """I7: places are not fought for without end; the refusal says that trying again helps."""
    first, _ = accept(cloud.intake, user_id="rush")
    reasons = [{"Code": "TransactionConflict"}, {"Code": "None"}, {"Code": "None"}]
    error = aws_error("TransactionCanceledException", CancellationReasons=reasons)
    faulty: Any = Faulty(cloud.aws.dynamodb, "transact_write_items", error, times=1000)
    with pytest.raises(UnavailableError) as busy:
        accept(Intake(faulty, cloud.stack), user_id="rush", conversation_id=first.conversation_id)
    assert busy.value.code == "conversation_busy"
    assert len(messages(cloud, first)) == 1


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_job_is_its_owners(cloud: Cloud) -> None:
    """I5: another user's job and none at all are the same refusal."""
    job, _ = accept(cloud.intake, user_id="owner")
    assert cloud.jobs.get(job.job_id, "owner").message_id == job.message_id
    refusals = []
    for job_id, user in ((job.job_id, "mallory"), (ids.turn_ids(None)[0], "owner")):
        with pytest.raises(NotFoundError) as refused:
            cloud.jobs.get(job_id, user)
        refusals.append(refused.value.to_json())
        with pytest.raises(NotFoundError) as refused:
            cloud.jobs.request_cancel(job_id, user)
        refusals.append(refused.value.to_json())
    assert all(refusal == refusals[0] for refusal in refusals)
    assert not cloud.jobs.get(job.job_id, "owner").cancel_requested


# --- cancelling ------------------------------------------------------------------------------------------------------


def test_a_cancel_is_a_wish_until_the_job_ends(cloud: Cloud) -> None:
    """Whoever works on a job learns of it; asking twice is once; a job that has ended stays as it is."""
    job, _ = accept(cloud.intake)
    assert cloud.jobs.cancel_requested([job.job_id]) == set()
    assert cloud.jobs.request_cancel(job.job_id, "alice").cancel_requested
    assert cloud.jobs.request_cancel(job.job_id, "alice").status == "queued"
    assert cloud.jobs.cancel_requested([job.job_id]) == {job.job_id}
    lease = leased(cloud.jobs, job.job_id)
    assert lease.job.cancel_requested
    cloud.jobs.finish(lease, "cancelled", content="half an ans")
    ended = cloud.jobs.request_cancel(job.job_id, "alice")
    assert (ended.status, ended.ended) == ("cancelled", True)
    assert messages(cloud, job)[1].status == "cancelled"
    other, _ = accept(cloud.intake)
    cloud.jobs.finish(leased(cloud.jobs, other.job_id), "done", content="all of it")
    late = cloud.jobs.request_cancel(other.job_id, "alice")
    assert (late.status, late.cancel_requested) == ("done", False)


def test_a_wish_is_read_as_it_was_written(cloud: Cloud) -> None:
    """Who is told of a wish looks at once: a replica of DynamoDB's that lags would say that there is none."""
    asked: list[dict[str, Any]] = []
    event = "provide-client-params.dynamodb.BatchGetItem"
    cloud.aws.dynamodb.meta.events.register(event, lambda params, **_: asked.append(params))
    job, _ = accept(cloud.intake)
    cloud.jobs.cancel_requested([job.job_id])
    assert [table["ConsistentRead"] for request in asked for table in request["RequestItems"].values()] == [True]


def test_a_cancel_takes_no_lease_away(cloud: Cloud) -> None:
    """The worker that is told to stop is the one that records how far it came."""
    lease = new_lease(cloud)
    cloud.jobs.request_cancel(lease.job.job_id, "alice")
    cloud.jobs.renew(lease, 60)
    assert cloud.jobs.finish(lease, "cancelled", content="so far").content == "so far"


def test_wishes_are_read_by_the_hundred(cloud: Cloud) -> None:
    """A worker with more jobs than one request of DynamoDB takes sees every wish; unknown jobs have none."""
    wanted, _ = accept(cloud.intake)
    cloud.jobs.request_cancel(wanted.job_id, "alice")
    other, _ = accept(cloud.intake)
    unknown = [ids.turn_ids(None)[0] for _ in range(248)]
    for place in (0, 99, 100, 249):
        job_ids = [*unknown, other.job_id]
        job_ids.insert(place, wanted.job_id)
        assert cloud.jobs.cancel_requested(job_ids) == {wanted.job_id}
    assert cloud.jobs.cancel_requested([]) == set()


# --- leases ----------------------------------------------------------------------------------------------------------


def test_a_lease_counts_the_attempt_before_any_work(cloud: Cloud, clock: Clock) -> None:
    """Attempt and fence are raised by the lease itself, so that a worker that dies was counted."""
    job, _ = accept(cloud.intake)
    lease = leased(cloud.jobs, job.job_id, "wrk_1", 30)
    assert (lease.owner, lease.fence, lease.job.attempts, lease.job.status) == ("wrk_1", 1, 1, "running")
    assert lease.expires_at == clock.now + 30
    assert cloud.jobs.get(job.job_id, "alice").attempts == 1


def test_a_held_job_is_nobody_elses(cloud: Cloud, clock: Clock) -> None:
    """Not even the owner's own: a second delivery of the same message is told until when to wait."""
    job, _ = accept(cloud.intake)
    lease = leased(cloud.jobs, job.job_id, "wrk_1", 30)
    for owner in ("wrk_1", "wrk_2"):
        assert cloud.jobs.lease(job.job_id, owner, 60) == Held(lease.expires_at)
    assert cloud.jobs.get(job.job_id, "alice").attempts == 1


def test_a_lease_that_ran_out_is_taken_over(cloud: Cloud, clock: Clock) -> None:
    """After its time another worker gets the job, with a higher fence and the next attempt."""
    job, _ = accept(cloud.intake)
    first = leased(cloud.jobs, job.job_id, "wrk_1", 30)
    clock.now += 30
    assert isinstance(cloud.jobs.lease(job.job_id, "wrk_2", 30), Held)
    clock.now += 0.001
    second = leased(cloud.jobs, job.job_id, "wrk_2", 30)
    assert second.fence > first.fence
    assert second.job.attempts == 2
    assert second.owner == "wrk_2"


def test_an_ended_and_an_unknown_job_are_told_apart(cloud: Cloud) -> None:
    """An ended job comes with the fence that ended it; an unknown one is unknown."""
    lease = new_lease(cloud)
    cloud.jobs.finish(lease, "done", content="42")
    ended = cloud.jobs.lease(lease.job.job_id, "wrk_2", 60)
    assert isinstance(ended, Ended)
    assert (ended.fence, ended.job.status, ended.job.attempts) == (lease.fence, "done", 1)
    assert cloud.jobs.lease(ids.turn_ids(None)[0], "wrk_2", 60) == Unknown()


def test_ten_workers_at_once_are_one_lease(cloud: Cloud) -> None:
    """I2: whoever comes at the same moment, one gets the job."""
    job, _ = accept(cloud.intake)
    outcomes = at_once(10, lambda number: cloud.jobs.lease(job.job_id, f"wrk_{number}", 60))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Held"] * 9 + ["Lease"]
    assert cloud.jobs.get(job.job_id, "alice").attempts == 1


def test_a_renewed_lease_holds_for_longer(cloud: Cloud, clock: Clock) -> None:
    """Renewing keeps the job, and counts no attempt."""
    job, _ = accept(cloud.intake)
    lease = leased(cloud.jobs, job.job_id, "wrk_1", 30)
    clock.now += 29
    cloud.jobs.renew(lease, 30)
    clock.now += 29
    assert isinstance(cloud.jobs.lease(job.job_id, "wrk_2", 30), Held)
    assert cloud.jobs.get(job.job_id, "alice").attempts == 1


def test_a_released_job_is_free_at_once(cloud: Cloud) -> None:
    """It is queued again, with the reason of the failed attempt, until the next attempt ends."""
    lease = new_lease(cloud)
    failure = {"code": "llm_failed", "message": "no", "retryable": True, "retry_after": 2.5, "hint": None}
    cloud.jobs.release(lease, error=failure)
    job = cloud.jobs.get(lease.job.job_id, "alice")
    assert (job.status, job.attempts, job.error) == ("queued", 1, failure)
    again = leased(cloud.jobs, job.job_id, "wrk_2")
    assert (again.fence, again.job.attempts) == (2, 2)
    cloud.jobs.release(again)
    assert cloud.jobs.get(job.job_id, "alice").error is None


def taken_over(cloud: Cloud) -> tuple[Lease, Lease]:
    """Return the lease of a worker that fell asleep, and that of the one that took the job over."""
    zombie = leased(cloud.jobs, accept(cloud.intake)[0].job_id, "zombie", -1)
    return zombie, leased(cloud.jobs, zombie.job.job_id, "heir")


def released(cloud: Cloud) -> tuple[Lease, Lease | None]:
    lease = new_lease(cloud)
    cloud.jobs.release(lease)
    return lease, None


def ended(cloud: Cloud) -> tuple[Lease, Lease | None]:
    zombie, heir = taken_over(cloud)
    cloud.jobs.finish(heir, "done", content="the answer")
    return zombie, None


@pytest.mark.parametrize("lose", [taken_over, released, ended])
@pytest.mark.parametrize("verb", ["renew", "release", "finish"])
def test_a_zombie_writes_nothing(cloud: Cloud, lose: Callable[[Cloud], tuple[Lease, Lease | None]], verb: str) -> None:
    """I2: under a lease that was lost, nothing can be renewed, released or ended, and nothing has changed."""
    zombie, heir = lose(cloud)
    job = zombie.job
    verbs: dict[str, Callable[[], object]] = {
        "renew": lambda: cloud.jobs.renew(zombie, 600),
        "release": lambda: cloud.jobs.release(zombie, error={"code": "zombie"}),
        "finish": lambda: cloud.jobs.finish(zombie, "done", content="from the grave"),
    }
    before = record(cloud, job.job_id), cloud.history.messages("alice", job.conversation_id, limit=10)
    with pytest.raises(LostLeaseError):
        verbs[verb]()
    assert (record(cloud, job.job_id), cloud.history.messages("alice", job.conversation_id, limit=10)) == before
    if heir:
        cloud.jobs.renew(heir, 60)


def test_a_lease_of_an_unknown_job_is_lost(cloud: Cloud) -> None:
    """A job whose record was dropped cannot be worked on, and no half of it comes back to life."""
    lease = new_lease(cloud)
    gone = replace(lease, job=replace(lease.job, job_id=ids.turn_ids(None)[0]))
    verbs: list[Callable[[], object]] = [
        lambda: cloud.jobs.renew(gone, 60),
        lambda: cloud.jobs.release(gone),
        lambda: cloud.jobs.finish(gone, "done", content="x"),
    ]
    for verb in verbs:
        with pytest.raises(LostLeaseError):
            verb()
    assert cloud.jobs.lease(gone.job.job_id, "wrk_1", 60) == Unknown()
    assert len(cloud.history.messages("alice", lease.job.conversation_id, limit=10).items) == 1


# --- ending ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
def test_a_job_ends_with_its_answer(cloud: Cloud, status: JobStatus) -> None:
    """Job and answer are recorded together: floats, None and all come back as they were."""
    lease = new_lease(cloud)
    error = {"code": "x", "message": "no", "hint": "", "retryable": False, "retry_after": 1.5, "more": None}
    reply = cloud.jobs.finish(
        lease,
        status,
        content="" if status == "failed" else "42 👍",
        provider="openai",
        model="sim-1",
        usage={"input_tokens": 3, "output_tokens": 4},
        error=error if status in {"failed", "dead_lettered"} else None,
    )
    job = cloud.jobs.get(lease.job.job_id, "alice")
    assert job.ended
    assert (job.status, job.provider, job.model) == (status, "openai", "sim-1")
    assert job.usage == {"input_tokens": 3, "output_tokens": 4}
    assert job.error == (error if status in {"failed", "dead_lettered"} else None)
    assert job.reply_message_id == reply.message_id == ids.reply_id(job.message_id)
    assert cloud.history.message(job.conversation_id, reply.message_id) == reply
    assert (reply.role, reply.status, reply.job_id) == ("assistant", status, job.job_id)


def test_what_is_not_known_is_none(cloud: Cloud) -> None:
    """An answer of which no provider, model or usage is known has none of them."""
    lease = new_lease(cloud)
    cloud.jobs.release(lease, error={"code": "earlier"})
    reply = cloud.jobs.finish(leased(cloud.jobs, lease.job.job_id), "done", content="x")
    job = cloud.jobs.get(lease.job.job_id, "alice")
    assert (job.provider, job.model, job.usage, job.error) == (None, None, None, None)
    assert cloud.history.message(job.conversation_id, reply.message_id) == reply


def test_ending_again_says_so(cloud: Cloud) -> None:
    """A worker that is not sure whether its answer was recorded may ask again: it is there once."""
    lease = new_lease(cloud)
    first = cloud.jobs.finish(lease, "done", content="42")
    again = cloud.jobs.finish(lease, "done", content="42")
    assert replace(again, created_at=first.created_at) == first
    with pytest.raises(LostLeaseError):
        cloud.jobs.finish(lease, "failed", content="")
    assert cloud.jobs.get(lease.job.job_id, "alice").status == "done"


@pytest.mark.parametrize("error", [aws_error("InternalServerError"), UnavailableError("reset")])
def test_an_end_that_was_done_but_not_heard_of_is_found(cloud: Cloud, error: Exception) -> None:
    """I2: the first call was done and its answer lost; the second one returns the reply and writes nothing."""
    lease = new_lease(cloud)
    faulty: Any = Faulty(cloud.aws.dynamodb, "transact_write_items", error, done=True)
    jobs = Jobs(faulty, cloud.stack)
    with pytest.raises(UnavailableError):
        jobs.finish(lease, "done", content="42")
    before = record(cloud, lease.job.job_id)
    assert before["status"] == "done"
    assert jobs.finish(lease, "done", content="42").content == "42"
    assert record(cloud, lease.job.job_id) == before


def conflict(times: int) -> tuple[ClientError, int]:
    reasons = [{"Code": "TransactionConflict"}, {"Code": "None"}]
    return aws_error("TransactionCanceledException", CancellationReasons=reasons), times


def test_a_conflict_with_another_write_is_tried_again(cloud: Cloud) -> None:
    """A renewal or a cancel that meets the end of a job does not cost it its answer."""
    error, times = conflict(3)
    lease = new_lease(cloud)
    faulty: Any = Faulty(cloud.aws.dynamodb, "transact_write_items", error, times=times)
    assert Jobs(faulty, cloud.stack).finish(lease, "done", content="42").content == "42"


def test_a_conflict_that_lasts_is_no_lost_lease(cloud: Cloud, clock: Clock) -> None:
    """The lease is held still: whoever asked is told to try again, instead of throwing the answer away."""
    error, times = conflict(1000)
    lease = new_lease(cloud)
    faulty: Any = Faulty(cloud.aws.dynamodb, "transact_write_items", error, times=times)
    with pytest.raises(UnavailableError):
        Jobs(faulty, cloud.stack).finish(lease, "done", content="42")
    assert cloud.jobs.finish(lease, "done", content="42").content == "42"


def test_ends_at_once_are_one_end(cloud: Cloud) -> None:
    """I2: two statuses at the same moment under one lease: one is recorded, with its own answer."""
    lease = new_lease(cloud)
    statuses: tuple[JobStatus, ...] = ("done", "cancelled")

    def end(number: int) -> Message | None:
        try:
            return cloud.jobs.finish(lease, statuses[number % 2], content=statuses[number % 2])
        except LostLeaseError:
            return None

    replies = [reply for reply in at_once(8, end) if reply]
    status = cloud.jobs.get(lease.job.job_id, "alice").status
    assert {reply.status for reply in replies} == {status}
    stored = cloud.history.messages("alice", lease.job.conversation_id, limit=10).items
    assert [message.content for message in stored] == ["hello", status]


def test_without_its_tables_a_cloud_says_so(cloud: Cloud) -> None:
    """What was not provisioned is told apart from what is away, by every verb."""
    jobs = Jobs(cloud.aws.dynamodb, type(cloud.stack)("nowhere"))
    lease = new_lease(cloud)
    verbs: list[Callable[[], object]] = [
        lambda: accept(Intake(cloud.aws.dynamodb, type(cloud.stack)("nowhere"))),
        lambda: jobs.get(lease.job.job_id, "alice"),
        lambda: jobs.lease(lease.job.job_id, "wrk_1", 60),
        lambda: jobs.renew(lease, 60),
        lambda: jobs.release(lease),
        lambda: jobs.finish(lease, "done", content="x"),
        lambda: jobs.request_cancel(lease.job.job_id, "alice"),
        lambda: jobs.cancel_requested([lease.job.job_id]),
    ]
    for verb in verbs:
        with pytest.raises(UnavailableError) as missing:
            verb()
        assert missing.value.code == "not_provisioned"


# --- attempts that are kept ------------------------------------------------------------------------------------------


FAILURE = {"code": "llm_failed", "message": "no", "hint": "503", "retryable": True, "retry_after": None}


def test_each_attempt_is_kept_with_its_job(cloud: Cloud, clock: Clock) -> None:
    """Who made it, when it began and ended, how, why, and what it used: the failed one, the one handed back, the last."""
    job, _ = accept(cloud.intake)
    first = leased(cloud.jobs, job.job_id, "wrk_a")
    (begun,) = cloud.jobs.get(job.job_id, "alice").attempt_history
    assert begun == AttemptRecord(attempt=1, fence=1, worker_id="wrk_a", began_at=clock.now)
    clock.now += 2
    used: dict[str, Any] = {"provider": "openai", "model": "sim-1", "llm_calls": 2, "usage": {"input_tokens": 3}}
    cloud.jobs.release(first, error=FAILURE, delay=4, first_text_at=clock.now - 1, **used)
    clock.now += 4
    cloud.jobs.release(leased(cloud.jobs, job.job_id, "wrk_b"))
    cloud.jobs.finish(leased(cloud.jobs, job.job_id, "wrk_c"), "done", content="42", llm_calls=1)
    failed, back, done = cloud.jobs.get(job.job_id, "alice").attempt_history
    assert failed == replace(
        begun,
        first_text_at=clock.now - 5,
        ended_at=clock.now - 4,
        outcome="retried",
        code="llm_failed",
        reason="503",
        delay=4,
        **used,
    )
    assert (back.attempt, back.worker_id, back.outcome, back.code) == (2, "wrk_b", "handed_back", None)
    # One that was handed back costs none, so the next bears its number.
    assert (done.attempt, done.worker_id, done.outcome, done.llm_calls) == (2, "wrk_c", "done", 1)
    assert "attempt_history" not in cloud.jobs.get(job.job_id, "alice").to_json()


def test_an_attempt_whose_worker_died_began_and_never_ended(cloud: Cloud, clock: Clock) -> None:
    """It keeps its number, before and after the next worker writes."""
    job, _ = accept(cloud.intake)
    leased(cloud.jobs, job.job_id, "wrk_dead")
    clock.now += 61
    heir = leased(cloud.jobs, job.job_id, "wrk_heir")
    for _ in range(2):
        died, now = cloud.jobs.records([job.job_id])[job.job_id].attempt_history
        assert (died.attempt, died.fence, died.worker_id, died.ended_at) == (1, 1, "wrk_dead", None)
        assert (now.attempt, now.fence, now.worker_id) == (2, 2, "wrk_heir")
        if now.ended_at is None:
            cloud.jobs.finish(heir, "done", content="x")


def test_the_last_twenty_attempts_are_kept_over_all_lives(cloud: Cloud) -> None:
    """I7: the list is bounded; a redriven job counts its attempts anew, and its fence goes on."""
    job, _ = accept(cloud.intake)
    for _ in range(15):
        cloud.jobs.release(leased(cloud.jobs, job.job_id), error={**FAILURE, "hint": "x" * 10_000})
    cloud.jobs.finish(leased(cloud.jobs, job.job_id), "dead_lettered", content="", error=FAILURE)
    assert isinstance(cloud.jobs.reopen(job, letter="letter"), Reopened)
    for _ in range(7):
        cloud.jobs.release(leased(cloud.jobs, job.job_id), error=FAILURE)
    history = cloud.jobs.get(job.job_id, "alice").attempt_history
    assert [entry.fence for entry in history] == list(range(4, 24))
    assert [entry.attempt for entry in history] == [*range(4, 17), *range(1, 8)]
    assert max(len(entry.reason or "") for entry in history) == 300


def test_i9_records_of_other_versions_are_read(cloud: Cloud) -> None:
    """I9: one without attempts has none and goes on with its next; what a later version adds is passed over."""
    job, _ = accept(cloud.intake)
    leased(cloud.jobs, job.job_id)
    key = to_item({"job_id": job.job_id})
    cloud.aws.dynamodb.update_item(
        TableName=cloud.stack.jobs.name,
        Key=key,
        UpdateExpression="SET lease_until = :zero REMOVE attempt_history, #state, state_since",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues=to_item({":zero": 0}),
    )
    assert cloud.jobs.get(job.job_id, "alice").attempt_history == ()
    lease = leased(cloud.jobs, job.job_id)
    assert [(entry.attempt, entry.fence) for entry in lease.job.attempt_history] == [(2, 2)]
    later = {"attempt_history": [{"worker_id": "wrk_1", "began_at": 5, "colour": "red"}]}
    cloud.aws.dynamodb.update_item(
        TableName=cloud.stack.jobs.name,
        Key=key,
        UpdateExpression="SET attempt_history = :attempts",
        ExpressionAttributeValues=to_item({":attempts": later["attempt_history"]}),
    )
    (entry,) = cloud.jobs.get(job.job_id, "alice").attempt_history
    assert (entry.attempt, entry.began_at, entry.llm_calls) == (2, 5, 0)
    cloud.jobs.finish(lease, "done", content="x")
    assert (job.job_id, cloud.jobs.get(job.job_id, "alice").updated_at) in cloud.jobs.in_state("done", most=10)


# --- states that are indexed -----------------------------------------------------------------------------------------


def test_jobs_are_listed_by_state(own_cloud: Cloud) -> None:
    """`open` until the end, whatever workers do meanwhile; then how it ended; reopened is open again; newest first."""
    jobs = own_cloud.jobs
    first, second = (own_cloud.accept() for _ in range(2))

    def listed(state: JobState, **given: Any) -> list[str]:
        return [job_id for job_id, _ in jobs.in_state(state, **{"most": 10, **given})]

    assert listed("open") == [second.job_id, first.job_id]
    ((_, accepted),) = jobs.in_state("open", most=1)
    jobs.release(leased(jobs, second.job_id), error=FAILURE)
    lease = leased(jobs, second.job_id)
    jobs.renew(lease, 60)
    assert jobs.in_state("open", most=1) == [(second.job_id, accepted)]
    jobs.finish(lease, "dead_lettered", content="", error=FAILURE)
    assert (listed("open"), listed("dead_lettered")) == ([first.job_id], [second.job_id])
    assert listed("dead_lettered", since=time.time() + 60) == []
    assert isinstance(jobs.reopen(second, letter="letter"), Reopened)
    assert (listed("open"), listed("dead_lettered")) == ([second.job_id, first.job_id], [])


def test_without_its_index_a_table_says_so(own_cloud: Cloud) -> None:
    """A stack that was provisioned by an earlier version: one sentence and what to do."""
    name = own_cloud.stack.jobs.name
    own_cloud.aws.dynamodb.delete_table(TableName=name)
    own_cloud.aws.dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "job_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "job_id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(UnavailableError) as missing:
        own_cloud.jobs.in_state("done", most=10)
    assert missing.value.code == "not_provisioned"
    assert "cloudia provision" in missing.value.hint


def test_keeping_attempts_costs_no_request(cloud: Cloud) -> None:
    """A job that is answered at its second attempt: five requests, as there were before attempts were kept."""
    asked: list[str] = []
    events = cloud.aws.dynamodb.meta.events
    events.register("before-call.dynamodb", lambda model, **_: asked.append(model.name), unique_id="count")
    try:
        job, _ = accept(cloud.intake)
        cloud.jobs.release(leased(cloud.jobs, job.job_id), error=FAILURE)
        cloud.jobs.finish(leased(cloud.jobs, job.job_id), "done", content="42")
    finally:
        events.unregister("before-call.dynamodb", unique_id="count")
    assert asked == ["TransactWriteItems", "UpdateItem", "UpdateItem", "UpdateItem", "TransactWriteItems"]


# --- any order of events -----------------------------------------------------------------------------------------------


class Workers(RuleBasedStateMachine):
    """One job, many workers. The model is the attributes with the plain names."""

    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self, cloud: Cloud, clock: Clock) -> None:
        super().__init__()
        self.cloud, self.clock = cloud, clock
        self.job, _ = accept(cloud.intake, user_id="model")
        self.status = "queued"
        self.fence = 0
        self.attempts = 0
        self.until = 0.0
        self.answer: str | None = None
        self.cancel = False

    def holds(self, lease: Lease) -> bool:
        return self.status == "running" and lease.fence == self.fence

    @rule(target=leases, owner=st.sampled_from(["a", "b", "c"]), seconds=st.integers(1, 60))
    def lease(self, owner: str, seconds: int) -> Any:
        outcome = self.cloud.jobs.lease(self.job.job_id, owner, seconds)
        if self.status in TERMINAL_STATUSES:
            assert isinstance(outcome, Ended)
            assert (outcome.fence, outcome.job.status) == (self.fence, self.status)
        elif self.status == "running" and self.until >= self.clock.now:
            assert outcome == Held(self.until)
        else:
            self.status, self.fence, self.until = "running", self.fence + 1, self.clock.now + seconds
            self.attempts += 1
            assert isinstance(outcome, Lease)
            assert (outcome.owner, outcome.fence, outcome.expires_at) == (owner, self.fence, self.until)
            assert (outcome.job.attempts, outcome.job.cancel_requested) == (self.attempts, self.cancel)
            return outcome
        return multiple()

    @rule(lease=leases, seconds=st.integers(1, 60))
    def renew(self, lease: Lease, seconds: int) -> None:
        if self.holds(lease):
            self.cloud.jobs.renew(lease, seconds)
            self.until = self.clock.now + seconds
        else:
            with pytest.raises(LostLeaseError):
                self.cloud.jobs.renew(lease, seconds)

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        if self.holds(lease):
            self.cloud.jobs.release(lease)
            self.status, self.until = "queued", 0.0
            self.attempts -= 1  # A worker that stops costs none.
        else:
            with pytest.raises(LostLeaseError):
                self.cloud.jobs.release(lease)

    @rule(lease=leases, status=st.sampled_from(sorted(TERMINAL_STATUSES)))
    def finish(self, lease: Lease, status: JobStatus) -> None:
        self.end(lease, status)

    @rule(lease=consumes(leases), status=st.sampled_from(sorted(TERMINAL_STATUSES)))
    def finish_and_forget(self, lease: Lease, status: JobStatus) -> None:
        self.end(lease, status)

    def end(self, lease: Lease, status: JobStatus) -> None:
        content = f"{status} by {lease.fence}"
        if self.holds(lease):
            assert self.cloud.jobs.finish(lease, status, content=content).content == content
            self.status, self.answer = status, content
        elif self.status == status and self.fence == lease.fence:  # The same end once more.
            self.cloud.jobs.finish(lease, status, content=content)
        else:
            with pytest.raises(LostLeaseError):
                self.cloud.jobs.finish(lease, status, content=content)

    @rule(seconds=st.sampled_from([0.5, 5, 61]))
    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def request_cancel(self) -> None:
        self.cancel = self.cancel or self.status not in TERMINAL_STATUSES
        assert self.cloud.jobs.request_cancel(self.job.job_id, "model").cancel_requested == self.cancel

    @invariant()
    def the_record_is_the_model(self) -> None:
        stored = record(self.cloud, self.job.job_id)
        assert (stored["status"], stored["fence"], stored["attempts"]) == (self.status, self.fence, self.attempts)
        if self.status == "running":
            assert stored["lease_until"] == self.until
        answers = [message.content for message in messages(self.cloud, self.job) if message.role == "assistant"]
        assert answers == ([] if self.answer is None else [self.answer])


def test_one_job_one_answer_whatever_happens(cloud: Cloud, clock: Clock) -> None:
    """I2: workers that lease, renew, release, end, fall asleep and wake up in any order agree with a plain model."""
    machine: Any = partial(Workers, cloud, clock)
    run_state_machine_as_test(
        machine,
        settings=examples(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


def test_a_lease_is_a_value(cloud: Cloud) -> None:
    """What a worker holds does not change under it."""
    lease = new_lease(cloud)
    with pytest.raises(AttributeError):
        lease.fence = 9  # type: ignore[misc]
    assert asdict(lease)["owner"] == "wrk_1"


def test_a_lease_whose_answer_was_lost_is_still_ours(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client sends the request again, which meets the lease that the first one took: one attempt, not a wait for it."""
    job = cloud.accept()
    update = cloud.aws.dynamodb.update_item

    def twice(**request: Any) -> Any:
        update(**request)
        return update(**request)

    monkeypatch.setattr(cloud.aws.dynamodb, "update_item", twice)
    lease = cloud.jobs.lease(job.job_id, "wrk_a", 30)
    assert isinstance(lease, Lease)
    assert (lease.fence, lease.job.attempts) == (1, 1)
    assert isinstance(cloud.jobs.lease(job.job_id, "wrk_b", 30), Held)
