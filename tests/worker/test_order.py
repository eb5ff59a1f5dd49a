"""Order: whatever the queue hands out first, the turns of a conversation are answered as its history has them."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from cloudia import ids
from cloudia.cloud.job_records import Lease
from cloudia.operate.dead_letters import DeadLetters
from cloudia.operate.purge import PURGED
from tests.support import Cloud, RunningStack, eventually, make_cloud
from tests.worker.working import USER, depth, ended, fault, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path

    from cloudia.protocol import QueuedJob


def turns(cloud: Cloud, count: int) -> list[QueuedJob]:
    """Accept the turns of one conversation, and enqueue none."""
    jobs = [cloud.accept("turn 1 [[words:30]]", user=USER)]
    for number in range(2, count + 1):
        conversation = jobs[0].conversation_id
        jobs.append(cloud.accept(f"turn {number} [[words:30]]", user=USER, conversation_id=conversation))
    return jobs


def assert_in_order(cloud: Cloud, jobs: list[QueuedJob], records: list[Any]) -> None:
    """Hold that each turn began after the end of the one before, and that the LLM knew of all of these."""
    attempts = [record.attempt_history for record in records]
    for before, after in pairwise(attempts):
        assert before[-1].ended_at <= after[0].began_at
    replies = cloud.history.messages(USER, jobs[0].conversation_id, limit=100).items[1::2]
    assert [f"turn {number}" in reply.content for number, reply in enumerate(replies, 1)] == [True] * len(jobs)


@pytest.mark.parametrize("redis", [True, False], ids=["cache", "no cache"])
async def test_i3_turns_that_were_enqueued_in_another_order(
    stack: RunningStack, tmp_path: Path, *, redis: bool
) -> None:
    """I3: five turns whose functions sent them last first are answered first first, each once."""
    cloud = make_cloud(stack, **({} if redis else {"redis_url": ""}))
    jobs = turns(cloud, 5)
    for job in reversed(jobs):
        cloud.queue.send(job)
    async with worker(cloud, tmp_path):
        records = [await ended(cloud, job) for job in jobs]
        await eventually(lambda: depth(cloud, cloud.stack.jobs_queue.name) == 0)
    assert_in_order(cloud, jobs, records)
    assert {(record.status, record.attempts) for record in records} == {("done", 1)}
    assert depth(cloud, cloud.stack.dead_letters.name) == 0


async def test_i1_i3_turns_that_were_never_enqueued_are_answered_with_the_next(cloud: Cloud, tmp_path: Path) -> None:
    """I1, I3: functions died before they sent two turns; the message of a later one has both answered, before its own."""
    jobs = turns(cloud, 4)
    cloud.queue.send(jobs[0])
    cloud.queue.send(jobs[3])
    async with worker(cloud, tmp_path):
        records = [await ended(cloud, job) for job in jobs]
    assert_in_order(cloud, jobs, records)
    assert {(record.status, record.attempts) for record in records} == {("done", 1)}


async def test_i3_of_more_turns_than_the_llm_sees_the_oldest_is_first(stack: RunningStack, tmp_path: Path) -> None:
    """I3: where the context is two messages long, and five turns wait, the oldest is found all the same."""
    cloud = make_cloud(stack, limits_context_messages=2)
    jobs = turns(cloud, 5)
    cloud.queue.send(jobs[-1])
    async with worker(cloud, tmp_path):
        records = [await ended(cloud, job) for job in jobs]
    for before, after in pairwise(records):
        assert before.attempt_history[-1].ended_at <= after.attempt_history[0].began_at


async def test_i3_a_turn_waits_for_one_that_another_worker_has(cloud: Cloud, tmp_path: Path) -> None:
    """I3: as a standard queue would deliver it; the later turn is not begun, and its attempts are not used up."""
    first, second = turns(cloud, 2)
    async with worker(cloud, tmp_path):
        await eventually(lambda: log_lines(tmp_path, "worker ready"))
        lease = cloud.jobs.lease(first.job_id, "wrk_other", 5)
        assert isinstance(lease, Lease)
        cloud.queue.send(second)
        await eventually(lambda: log_lines(tmp_path, "job is held by another worker"))
        assert cloud.jobs.get(second.job_id, USER).attempts == 0
        cloud.jobs.finish(lease, "done", content="turn 1, by another")
        done = await ended(cloud, second)
    assert done.attempts == 1
    assert_in_order(cloud, [first, second], [cloud.jobs.get(first.job_id, USER), done])


async def test_i3_a_turn_waits_for_one_that_fails_until_it_has_ended(stack: RunningStack, tmp_path: Path) -> None:
    """I3: the first turn fails, is tried again, and becomes a dead letter; only then the second one is begun."""
    cloud = make_cloud(stack, llm_model="sim-order", worker_max_attempts=2)
    fault(stack, kind="status", status=503, count=4, model="sim-order")
    first, second = turns(cloud, 2)
    cloud.queue.send(second)
    cloud.queue.send(first)
    async with worker(cloud, tmp_path):
        dead, done = await ended(cloud, first), await ended(cloud, second)
    assert (dead.status, dead.attempts, done.attempts) == ("dead_lettered", 2, 1)
    assert dead.attempt_history[-1].ended_at <= done.attempt_history[0].began_at


async def test_i3_a_turn_that_is_gone_holds_nobody_up(cloud: Cloud, tmp_path: Path) -> None:
    """A question without an answer whose job is not there any more: the next turn is answered."""
    first, second = turns(cloud, 2)
    cloud.aws.dynamodb.delete_item(TableName=cloud.stack.jobs.name, Key={"job_id": {"S": first.job_id}})
    cloud.queue.send(second)
    async with worker(cloud, tmp_path):
        assert (await ended(cloud, second)).status == "done"


# --- what else happens to a turn at that moment -----------------------------------------------------------------------


async def test_i3_a_purge_of_a_turn_lets_none_behind_it_overtake(cloud: Cloud, tmp_path: Path) -> None:
    """I3: the second of three turns is thrown away, while the first was never sent: the third one waits for the first."""
    first, second, third = turns(cloud, 3)
    cloud.queue.send(second)
    assert DeadLetters(cloud.dead_letters, cloud.queue, cloud.jobs).purge_queue().failed == [second.job_id]
    cloud.queue.send(third)
    async with worker(cloud, tmp_path):
        records = [await ended(cloud, job) for job in (first, second, third)]
    assert [record.status for record in records] == ["done", "failed", "done"]
    assert records[1].error == PURGED
    assert records[0].attempt_history[-1].ended_at <= records[2].attempt_history[0].began_at


async def test_i1_a_deletion_of_the_conversation_ends_all_of_its_turns(cloud: Cloud, tmp_path: Path) -> None:
    """I1: neither the turn whose message comes nor the one that was never sent is answered, and both end as stopped."""
    jobs = turns(cloud, 2)
    for job in jobs:
        cloud.jobs.request_cancel(job.job_id, USER)
    cloud.history.delete(USER, jobs[0].conversation_id)
    cloud.queue.send(jobs[1])
    async with worker(cloud, tmp_path, CLOUDIA_RECONCILE_AFTER_SECONDS="1"):
        assert [(await ended(cloud, job)).status for job in jobs] == ["cancelled", "cancelled"]
    assert cloud.history.message(jobs[0].conversation_id, ids.reply_id(jobs[0].message_id)) is None


async def test_i2_i3_a_redrive_of_the_first_turn_while_the_second_has_it_answered(cloud: Cloud, tmp_path: Path) -> None:
    """I2, I3: the first turn's message is a letter of SQS' own making, and the second turn's comes: each is answered once."""
    first, second = turns(cloud, 2)
    cloud.dead_letters.send_raw(first.encode(), group=first.conversation_id, deduplication_id="moved")
    shelf = DeadLetters(cloud.dead_letters, cloud.queue, cloud.jobs)
    letters = shelf.look().letters
    async with worker(cloud, tmp_path):
        await eventually(lambda: log_lines(tmp_path, "worker ready"))
        cloud.queue.send(second)
        redriven = [one.outcome for one in await asyncio.to_thread(lambda: list(shelf.redrive(letters)))]
        records = [await ended(cloud, job) for job in (first, second)]
        await eventually(lambda: depth(cloud, cloud.stack.jobs_queue.name) == 0)
    assert redriven[0] in {"redriven", "already_ended", "in_work"}
    assert_in_order(cloud, [first, second], records)
    assert [len(record.attempt_history) for record in records] == [1, 1]
