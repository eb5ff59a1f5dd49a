"""A worker process against the real engine, Redis and provider: leases, order, stop, context."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cloud.events import EventLog
from cloudia.cloud.job_records import Lease
from cloudia.cloud.redis import connect
from tests.support import Cloud, RunningStack, eventually, make_cloud
from tests.worker.working import USER, accept, depth, ended, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path

    from cloudia.protocol import JobStatus


async def test_a_job_is_answered_recorded_and_deleted(cloud: Cloud, tmp_path: Path) -> None:
    """I1: what was accepted ends as an answer; the history has it, and the queue is empty."""
    async with worker(cloud, tmp_path):
        job = accept(cloud, "tell me about tides [[words:40]]")
        done = await ended(cloud, job)
        assert (done.status, done.attempts, done.provider, done.model) == ("done", 1, "openai", "sim-1")
        assert done.usage["output_tokens"] > 0
        page = cloud.history.messages(USER, job.conversation_id, limit=10)
        assert [(message.role, message.job_id) for message in page.items] == [
            ("user", job.job_id),
            ("assistant", job.job_id),
        ]
        assert "tides" in page.items[1].content
        await eventually(lambda: depth(cloud, cloud.stack.jobs_queue.name) == 0)


async def test_the_context_of_a_turn_is_its_conversation(cloud: Cloud, tmp_path: Path) -> None:
    """A later answer shows what was said before, from the cache and, where there is none, from DynamoDB."""
    async with worker(cloud, tmp_path):
        first = accept(cloud, "my cat is called Ada [[words:20]]")
        await ended(cloud, first)
        second = accept(cloud, "and now? [[words:60]]", conversation=first.conversation_id)
        await ended(cloud, second)
        redis = connect(cloud.settings.redis_url)
        await redis.delete(f"{cloud.stack.name}:context:{first.conversation_id}")
        await redis.aclose()
        third = accept(cloud, "and then? [[words:60]]", conversation=first.conversation_id)
        await ended(cloud, third)
    replies = cloud.history.messages(USER, first.conversation_id, limit=10).items[1::2]
    assert "turn 2" in replies[1].content
    assert "Ada" in replies[1].content
    assert "turn 3" in replies[2].content
    assert "Ada" in replies[2].content


async def test_i3_turns_are_answered_in_the_order_they_were_accepted(cloud: Cloud, tmp_path: Path) -> None:
    """I3: with two workers and ten turns waiting in each of three conversations, every conversation keeps its order."""
    firsts = [accept(cloud, f"conversation {number} [[words:16]]") for number in range(3)]
    jobs = list(firsts)
    for turn in range(9):
        jobs += [accept(cloud, f"turn {turn} [[words:16]]", conversation=first.conversation_id) for first in firsts]
    async with worker(cloud, tmp_path), worker(cloud, tmp_path):
        records = [await ended(cloud, job) for job in jobs]
    for first in firsts:
        own = [record for record in records if record.conversation_id == first.conversation_id]
        ends = [record.updated_at for record in own]
        assert ends == sorted(ends)
        replies = cloud.history.messages(USER, first.conversation_id, limit=100).items[1::2]
        assert [f"turn {number}" in reply.content for number, reply in enumerate(replies, 1)] == [True] * 10
    assert {record.attempts for record in records} == {1}


async def test_stop_keeps_what_came(cloud: Cloud, tmp_path: Path) -> None:
    """Cancel: the provider's stream is closed, and what had come is recorded as cancelled."""
    async with worker(cloud, tmp_path), connect(cloud.settings.redis_url) as redis:
        job = accept(cloud, "a long one [[words:2000]]", session="ses_test")
        log = EventLog(redis, cloud.stack.name, ttl_seconds=60, max_length=100)

        async def some() -> bool:
            return any(json.loads(entry.payload)["type"] == "delta" for entry in await log.after("ses_test", "0-0"))

        await eventually(some)
        cloud.jobs.request_cancel(job.job_id, USER)
        done = await ended(cloud, job)
        assert done.status == "cancelled"
        reply = cloud.history.message(job.conversation_id, done.reply_message_id)
        assert reply is not None
        assert 0 < len(reply.content.split()) < 1000
        assert reply.status == "cancelled"


async def test_a_job_that_was_cancelled_in_the_queue_is_never_begun(cloud: Cloud, tmp_path: Path) -> None:
    """A cancel that comes before the worker costs no LLM call."""
    job = accept(cloud, "never mind")
    cloud.jobs.request_cancel(job.job_id, USER)
    async with worker(cloud, tmp_path):
        done = await ended(cloud, job)
    assert (done.status, done.usage) == ("cancelled", None)


async def test_a_job_delivered_twice_is_answered_once(cloud: Cloud, tmp_path: Path) -> None:
    """I2: the same message again finds the job done, sends its last event once at most, and is deleted."""
    async with worker(cloud, tmp_path):
        job = accept(cloud, "once [[words:5]]", session="ses_test")
        done = await ended(cloud, job)
        cloud.queue.send_raw(job.encode(), group=job.conversation_id, deduplication_id="again")
        await eventually(lambda: log_lines(tmp_path, "job was delivered again"))
        await eventually(lambda: depth(cloud, cloud.stack.jobs_queue.name) == 0)
    assert cloud.jobs.get(job.job_id, USER) == done
    redis = connect(cloud.settings.redis_url)
    log = EventLog(redis, cloud.stack.name, ttl_seconds=60, max_length=100)
    kinds = [json.loads(entry.payload)["type"] for entry in await log.after("ses_test", "0-0")]
    await redis.aclose()
    assert kinds[0] == "started"
    assert kinds.count("done") == 1
    assert kinds[-1] == "done"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_both_providers_answer(stack: RunningStack, tmp_path: Path, provider: str) -> None:
    """The default responder speaks both APIs through their official SDKs, with the usage they count."""
    cloud = make_cloud(stack, llm_provider=provider)
    async with worker(cloud, tmp_path):
        job = accept(cloud, "who are you? [[words:30]]")
        done = await ended(cloud, job)
    assert (done.status, done.provider) == ("done", provider)
    assert done.usage["input_tokens"] > 0
    assert done.usage["output_tokens"] > 0


async def test_i6_no_text_in_the_log(cloud: Cloud, tmp_path: Path) -> None:
    """I6: neither the question nor the answer nor a secret is ever logged."""
    async with worker(cloud, tmp_path, CLOUDIA_LOG_LEVEL="debug"):
        job = accept(cloud, "the password is xyzzy-plugh [[words:30]]")
        await ended(cloud, job)
    text = (tmp_path / "worker.log").read_text()
    assert job.job_id in text
    assert "xyzzy" not in text
    assert cloud.secrets["token"] not in text
    assert "simulated" not in text


async def test_one_users_many_messages_do_not_hold_anothers_answer_up(stack: RunningStack, tmp_path: Path) -> None:
    """With four places and twenty-four conversations of one user queued, another's message is answered among the first."""
    cloud = make_cloud(stack, worker_concurrency=4)
    many = [cloud.accept(f"number {number} [[words:20]]", user="many") for number in range(24)]
    one = cloud.accept("only this [[words:20]]", user="one")
    for job in (*many, one):
        cloud.queue.send(job)
    async with worker(cloud, tmp_path):

        def look() -> Any:
            found = cloud.jobs.get(one.job_id, "one")
            return found if found.ended else None

        assert (await eventually(look)).status == "done"
        records = cloud.jobs.records(job.job_id for job in many)
        assert sum(record.ended for record in records.values()) < 12
        await eventually(lambda: all(cloud.jobs.get(job.job_id, "many").status == "done" for job in many), every=0.2)
        records = cloud.jobs.records(job.job_id for job in many)
    assert {record.attempts for record in records.values()} == {1}


@pytest.mark.parametrize(("attempts", "fate"), [(5, "dead_lettered"), (1, "cancelled"), (2, "failed")])
async def test_i4_an_end_without_an_attempt_is_announced(
    cloud: Cloud, tmp_path: Path, attempts: int, fate: JobStatus
) -> None:
    """I4: a later attempt begins with `reset` also where it only ends the job, or tells the end that another recorded."""
    job = accept(cloud, "is anybody there?", session="ses_announced")
    for number in range(attempts):
        lease = cloud.jobs.lease(job.job_id, f"wrk_dead{number}", -1.0)
    assert isinstance(lease, Lease)
    if fate == "cancelled":
        cloud.jobs.request_cancel(job.job_id, USER)
    if fate == "failed":
        cloud.jobs.finish(lease, fate, content="", error={"code": "llm_rejected"})
    async with worker(cloud, tmp_path):
        await eventually(lambda: depth(cloud, cloud.stack.jobs_queue.name) == 0)
    assert cloud.jobs.get(job.job_id, USER).status == fate
    redis = connect(cloud.settings.redis_url)
    log = EventLog(redis, cloud.stack.name, ttl_seconds=60, max_length=100)
    kinds = [json.loads(entry.payload)["type"] for entry in await log.after("ses_announced", "0-0")]
    await redis.aclose()
    assert kinds == ["reset", "cancelled" if fate == "cancelled" else "error"]
