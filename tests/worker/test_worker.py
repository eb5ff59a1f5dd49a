"""A worker process against the real engine, Redis and provider: leases, order, stop, drain, dead letters."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cloudia import telemetry
from cloudia.cloud.events import EventLog
from cloudia.cloud.redis import connect
from cloudia.protocol import QueuedJob
from cloudia.sim.provision import destroy, provision, secret_values
from tests.support import Cloud, RunningStack, child, eventually, make_cloud

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

USER = "alice"


def accept(cloud: Cloud, content: str, *, conversation: str | None = None, session: str | None = None) -> QueuedJob:
    """Accept a message as the function does, and enqueue it."""
    job, unsent = cloud.jobs.accept(
        user_id=USER,
        content=content,
        conversation_id=conversation,
        session_id=session,
        idempotency_key=None,
        traceparent=telemetry.new_traceparent(),
    )
    assert unsent
    cloud.queue.send(job)
    return job


def depth(cloud: Cloud, queue: str) -> int:
    """Return how many messages a queue holds, visible or in flight."""
    url = cloud.aws.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = cloud.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(value) for value in counts.values())


async def ended(cloud: Cloud, job: QueuedJob, *, seconds: float = 20) -> Any:
    """Wait until a job has ended and return it."""

    def look() -> Any:
        found = cloud.jobs.get(job.job_id, USER)
        return found if found.ended else None

    return await eventually(look, seconds=seconds)


@asynccontextmanager
async def worker(cloud: Cloud, tmp_path: Path, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker of this cloud; its log is `worker.log`."""
    async with child("cloudia.worker", {**cloud.environment(), **variables}, tmp_path / "worker.log") as process:
        yield process


def log_lines(tmp_path: Path, event: str) -> list[dict[str, Any]]:
    """Return the log lines of one event."""
    lines = [json.loads(line) for line in (tmp_path / "worker.log").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def fault(stack: RunningStack, **fields: Any) -> None:
    """Make the provider fail for one model, so that tests do not disturb each other."""
    request = urllib.request.Request(
        f"{stack.run['llm_url']}/_cloudia/faults", json.dumps(fields).encode(), {"content-type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=5).close()


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
        records = [await ended(cloud, job, seconds=60) for job in jobs]
    for first in firsts:
        own = [record for record in records if record.conversation_id == first.conversation_id]
        ends = [record.updated_at for record in own]
        assert ends == sorted(ends)
        replies = cloud.history.messages(USER, first.conversation_id, limit=100).items[1::2]
        assert [f"turn {number}" in reply.content for number, reply in enumerate(replies, 1)] == [True] * 10
    assert {record.attempts for record in records} == {1}


async def test_stop_keeps_what_came(cloud: Cloud, tmp_path: Path) -> None:
    """Cancel: the provider's stream is closed, and what had come is recorded as cancelled."""
    async with worker(cloud, tmp_path):
        job = accept(cloud, "a long one [[words:2000]]")
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        await asyncio.sleep(0.5)  # some text has to come first
        cloud.jobs.request_cancel(job.job_id, USER)
        done = await ended(cloud, job, seconds=5)
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


async def test_sigterm_finishes_what_can_be_finished(cloud: Cloud, tmp_path: Path) -> None:
    """SIGTERM: the answer under way is finished and recorded, nothing is left in flight, exit status 0."""
    async with worker(cloud, tmp_path) as process:
        job = accept(cloud, "finish me [[words:60]]")
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    assert cloud.jobs.get(job.job_id, USER).status == "done"
    assert depth(cloud, cloud.stack.jobs_queue.name) == 0


async def test_sigterm_hands_back_what_cannot_be_finished(cloud: Cloud, tmp_path: Path) -> None:
    """SIGTERM with too little grace: the job is handed back at once, and another worker answers it."""
    async with worker(cloud, tmp_path, CLOUDIA_WORKER_GRACE_SECONDS="0.2") as process:
        job = accept(cloud, "too long for that [[words:400]]")
        follower = accept(cloud, "behind it [[words:5]]", conversation=job.conversation_id)
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert cloud.jobs.get(job.job_id, USER).status == "queued"
    async with worker(cloud, tmp_path):
        assert (await ended(cloud, job, seconds=30)).attempts == 2
        assert (await ended(cloud, follower)).attempts == 1


async def test_i2_a_killed_workers_job_is_taken_over(stack: RunningStack, tmp_path: Path) -> None:
    """I1, I2: kill -9 in mid-answer; when visibility and lease run out another worker answers, once."""
    cloud = make_cloud(stack, worker_visibility_seconds=3, worker_lease_seconds=3)
    async with worker(cloud, tmp_path) as process:
        job = accept(cloud, "who takes over? [[words:300]]")
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        process.kill()
        await process.wait()
    async with worker(cloud, tmp_path):
        done = await ended(cloud, job, seconds=30)
        assert (done.status, done.attempts) == ("done", 2)
        await eventually(lambda: depth(cloud, cloud.stack.jobs_queue.name) == 0)
    assert len(cloud.history.messages(USER, job.conversation_id, limit=10).items) == 2


async def test_i2_a_zombie_cannot_write(stack: RunningStack, tmp_path: Path) -> None:
    """I2: a worker that was stopped until its lease was taken over, and wakes up, writes nothing and deletes nothing."""
    cloud = make_cloud(stack, worker_visibility_seconds=3, worker_lease_seconds=3)
    async with worker(cloud, tmp_path) as zombie:
        job = accept(cloud, "two of us? [[words:200]]")
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        zombie.send_signal(signal.SIGSTOP)
        try:
            async with worker(cloud, tmp_path):
                done = await ended(cloud, job, seconds=30)
                zombie.send_signal(signal.SIGCONT)
                await eventually(
                    lambda: log_lines(tmp_path, "another worker has the job") or log_lines(tmp_path, "lease lost"),
                    seconds=20,
                )
        finally:
            zombie.send_signal(signal.SIGCONT)
    assert cloud.jobs.get(job.job_id, USER) == done
    assert done.attempts == 2


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


async def test_a_failed_attempt_is_made_again_and_the_stream_begins_anew(stack: RunningStack, tmp_path: Path) -> None:
    """A stream that breaks off: back in the queue for 2 s, then a `reset` and the whole answer."""
    cloud = make_cloud(stack, llm_model="sim-cut")
    fault(stack, kind="cut", after_tokens=8, count=1, model="sim-cut")
    async with worker(cloud, tmp_path):
        job = accept(cloud, "break off once [[words:20]]", session="ses_cut")
        done = await ended(cloud, job)
    assert (done.status, done.attempts) == ("done", 2)
    redis = connect(cloud.settings.redis_url)
    log = EventLog(redis, cloud.stack.name, ttl_seconds=60, max_length=1000)
    events = [json.loads(entry.payload) for entry in await log.after("ses_cut", "0-0")]
    await redis.aclose()
    kinds = [event["type"] for event in events]
    assert kinds[0] == "started"
    reset = kinds.index("reset")
    assert {event["attempt"] for event in events[:reset]} == {1}
    assert {event["attempt"] for event in events[reset:]} == {2}
    reply = cloud.history.message(job.conversation_id, done.reply_message_id)
    assert reply is not None
    assert "".join(event["text"] for event in events[reset:] if event["type"] == "delta") == reply.content
    (failed,) = log_lines(tmp_path, "attempt failed")
    assert failed["delay"] in {2, 3}


async def test_what_cannot_be_mended_by_trying_again_fails_at_once(stack: RunningStack, tmp_path: Path) -> None:
    """A 4xx of our own making: a friendly failure is recorded, no dead letter, the turn stays in the history."""
    cloud = make_cloud(stack, llm_model="sim-400")
    fault(stack, kind="status", status=400, count=1, model="sim-400")
    async with worker(cloud, tmp_path):
        job = accept(cloud, "refuse me")
        failed = await ended(cloud, job)
        assert (failed.status, failed.attempts, failed.error["code"]) == ("failed", 1, "llm_rejected")
        after = accept(cloud, "and now? [[words:60]]", conversation=job.conversation_id)
        assert (await ended(cloud, after)).status == "done"
    items = cloud.history.messages(USER, job.conversation_id, limit=10).items
    assert [item.status for item in items] == [None, "failed", None, "done"]
    assert "refuse me" in items[3].content
    assert depth(cloud, cloud.stack.dead_letters.name) == 0


async def test_i1_a_job_that_fails_each_time_becomes_a_dead_letter(stack: RunningStack, tmp_path: Path) -> None:
    """I1: after the last attempt the worker writes the dead letter with its reason, and the history says so."""
    cloud = make_cloud(stack, llm_model="sim-dead", worker_max_attempts=2)
    fault(stack, kind="status", status=503, model="sim-dead", **{"for": 60})
    async with worker(cloud, tmp_path):
        job = accept(cloud, "hopeless")
        dead = await ended(cloud, job, seconds=30)
    assert (dead.status, dead.attempts, dead.error["code"]) == ("dead_lettered", 2, "llm_failed")
    url = cloud.dead_letters.url
    (letter,) = cloud.aws.sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert QueuedJob.decode(letter["Body"]) == job
    assert attributes["error_type"] == "llm_failed"
    assert attributes["attempts"] == "2"
    assert attributes["traceparent"] == job.traceparent
    assert attributes["failed_at"]
    assert attributes["error_message"]


async def test_a_message_that_is_no_job_becomes_a_dead_letter(cloud: Cloud, tmp_path: Path) -> None:
    """Foreign messages do not stop the worker: they are dead letters as they came, with the reason."""
    cloud.queue.send_raw("not ours", group="strangers", deduplication_id="x")
    async with worker(cloud, tmp_path):
        await eventually(lambda: depth(cloud, cloud.stack.dead_letters.name) == 1)
        job = accept(cloud, "still there? [[words:5]]")
        assert (await ended(cloud, job)).status == "done"


async def test_i8_without_redis_answers_are_recorded(stack: RunningStack, tmp_path: Path) -> None:
    """I8: with no Redis to reach, the worker answers and records all the same, and says so once."""
    cloud = make_cloud(stack, redis_url="redis://127.0.0.1:9/0")
    async with worker(cloud, tmp_path):
        jobs = [accept(cloud, f"no redis {number} [[words:30]]", session="ses_none") for number in range(3)]
        assert {(await ended(cloud, job)).status for job in jobs} == {"done"}
    assert len(log_lines(tmp_path, "event log is away; answers are recorded all the same")) == 1


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


async def test_a_worker_waits_for_its_queue(stack: RunningStack, tmp_path: Path) -> None:
    """Without the engine's resources the worker waits with back-off and says so once; then it works."""
    cloud = make_cloud(stack)
    list(destroy(cloud.aws, cloud.stack))
    async with worker(cloud, tmp_path):
        await eventually(lambda: log_lines(tmp_path, "queue is away"))
        await asyncio.sleep(1)  # several polls
        list(provision(cloud.aws, cloud.stack, secret_values(cloud.stack, cloud.settings, cloud.secrets)))
        job = accept(cloud, "at last [[words:5]]")
        assert (await ended(cloud, job)).status == "done"
    assert len(log_lines(tmp_path, "queue is away")) == 1
