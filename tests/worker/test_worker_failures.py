"""Attempts that fail: made again, ended at once, or buried as a dead letter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cloud.events import EventLog
from cloudia.cloud.job_records import Lease
from cloudia.cloud.redis import connect
from cloudia.operate.dead_letters import DeadLetters
from cloudia.protocol import QueuedJob
from tests.cli.provider import ask_provider
from tests.support import Cloud, RunningStack, eventually, make_cloud
from tests.worker.working import USER, accept, depth, ended, fault, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path


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
    assert events[0]["max_attempts"] == events[reset]["max_attempts"] == cloud.settings.worker_max_attempts
    reply = cloud.history.message(job.conversation_id, done.reply_message_id)
    assert reply is not None
    assert "".join(event["text"] for event in events[reset:] if event["type"] == "delta") == reply.content
    (failed,) = log_lines(tmp_path, "attempt failed")
    assert failed["delay"] in {2, 3}


async def test_reasoning_that_was_sent_as_text_is_taken_back(stack: RunningStack, tmp_path: Path) -> None:
    """I4: its end comes alone: a `reset`, and the answer without it, which is what is recorded. The next one has none."""
    cloud = make_cloud(stack, llm_model="sim-prompted")
    async with worker(cloud, tmp_path):
        for number in (1, 2):
            ask_provider(stack.run, "POST", "replies", text="Hm, a greeting.\nI greet.\n</think>\n\nHello world")
            job = accept(cloud, "hello", session=f"ses_prompted_{number}")
            done = await ended(cloud, job)
            reply = cloud.history.message(job.conversation_id, done.reply_message_id)
            assert (done.status, done.attempts, reply and reply.content) == ("done", 1, "Hello world")
    redis = connect(cloud.settings.redis_url)
    log = EventLog(redis, cloud.stack.name, ttl_seconds=60, max_length=1000)
    first, second = [
        [json.loads(entry.payload) for entry in await log.after(f"ses_prompted_{number}", "0-0")] for number in (1, 2)
    ]
    await redis.aclose()
    resets = [at for at, event in enumerate(first) if event["type"] == "reset"]
    assert [first[at]["reason"] for at in resets] == ["reasoning"]
    assert "".join(event["text"] for event in first[resets[0] :] if event["type"] == "delta") == "Hello world"
    assert "".join(event["text"] for event in second if event["type"] == "delta") == "Hello world"
    assert "reset" not in {event["type"] for event in second}


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
        dead = await ended(cloud, job)
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


async def test_the_attempts_of_a_job_that_takes_its_workers_down(stack: RunningStack, tmp_path: Path) -> None:
    """Its events, its record and its letter tell the same number: what only ended it was no attempt."""
    cloud = make_cloud(stack, worker_max_attempts=2)
    session = "ses_lost"
    job = accept(cloud, "hello", session=session)
    for _ in range(2):
        assert isinstance(cloud.jobs.lease(job.job_id, "wrk_dead", 0), Lease)
    async with worker(cloud, tmp_path):
        dead = await ended(cloud, job)
        redis = connect(cloud.settings.redis_url)
        log = EventLog(redis, cloud.stack.name, ttl_seconds=60, max_length=1000)

        async def last() -> list[Any]:
            events = [json.loads(entry.payload) for entry in await log.after(session, "0-0")]
            return [event for event in events if event["type"] == "error"]

        (error,) = await eventually(last)
        await redis.aclose()
    (letter,) = DeadLetters(cloud.dead_letters, cloud.queue, cloud.jobs).look().letters
    assert (dead.status, dead.error["code"]) == ("dead_lettered", "worker_lost")
    assert (error["attempt"], dead.attempts, letter.attempts, letter.message.told("attempts")) == (2, 2, 2, "2")
    assert [attempt.worker_id for attempt in dead.attempt_history] == ["wrk_dead"] * 2


_FOREIGN: dict[str, Any] = {
    "number": {"DataType": "Number.float", "StringValue": "1.5"},
    "bytes": {"DataType": "Binary", "BinaryValue": bytes(range(256))},
    "error_type": {"DataType": "String.theirs", "StringValue": "of theirs"},
}


@pytest.mark.parametrize(
    ("more", "reasons"), [(0, {"error_message", "failed_at", "attempts"}), (6, {"error_message"}), (7, set())]
)
async def test_a_message_that_is_no_job_becomes_a_dead_letter(
    more: int, reasons: set[str], cloud: Cloud, tmp_path: Path
) -> None:
    """Foreign messages do not stop the worker: they are dead letters as they came, with the reasons that SQS has room for."""
    foreign = _FOREIGN | {f"more{number}": {"DataType": "Number", "StringValue": "1"} for number in range(more)}
    cloud.aws.sqs.send_message(
        QueueUrl=cloud.queue.url,
        MessageBody="not ours",
        MessageGroupId="strangers",
        MessageDeduplicationId="x",
        MessageAttributes=foreign,
    )
    async with worker(cloud, tmp_path):
        await eventually(lambda: depth(cloud, cloud.stack.dead_letters.name) == 1)
        job = accept(cloud, "still there? [[words:5]]")
        assert (await ended(cloud, job)).status == "done"
    (letter,) = cloud.aws.sqs.receive_message(
        QueueUrl=cloud.dead_letters.url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["MessageGroupId"]
    )["Messages"]
    assert (letter["Body"], letter["Attributes"]["MessageGroupId"]) == ("not ours", "strangers")
    found: dict[str, Any] = letter["MessageAttributes"]
    assert {name: value for name, value in found.items() if name in foreign} == foreign
    assert set(found) - set(foreign) == reasons
