"""I9: what another version wrote, yesterday or tomorrow, is worked on by today's code; only a higher version is left to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloudia.client import Answer
from cloudia.cloud.events import START, EventLog
from cloudia.cloud.items import to_item
from cloudia.cloud.redis import Keys, connect
from cloudia.errors import InvalidRequestError
from cloudia.protocol import Event, QueuedJob, UnknownEventError
from tests.support import Cloud, eventually
from tests.worker.working import accept, depth, ended, log_lines, wear, worker

SKEW = Path(__file__).parents[1] / "skew"
VERSIONS = sorted(path.stem for path in SKEW.glob("*.json"))


def written_by(version: str) -> dict[str, Any]:
    """Return what a version has written."""
    found: dict[str, Any] = json.loads((SKEW / f"{version}.json").read_text())
    return found


def put(cloud: Cloud, written: dict[str, Any]) -> None:
    """Put the records of another version where they belong."""
    tables = {
        cloud.stack.jobs.name: written["jobs"],
        cloud.stack.messages.name: written["messages"],
        cloud.stack.conversations.name: [written["conversation"]],
    }
    for table, records in tables.items():
        for record in records:
            cloud.aws.dynamodb.put_item(TableName=table, Item=to_item(record))


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "not cached"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_i9_a_message_of_another_version_is_answered(
    cloud: Cloud, tmp_path: Path, version: str, *, cached: bool
) -> None:
    """I9: its records, context and message are read; its turn is answered, recorded and shown, and nothing is buried."""
    written = written_by(version)
    put(cloud, written)
    body = written["queue_message"]
    redis = connect(cloud.settings.redis_url)
    if cached:
        key = Keys(cloud.stack.name).context(body["conversation_id"])
        await redis.set(key, json.dumps(written["cached_context"]))
    cloud.queue.send_raw(json.dumps(body), group=body["conversation_id"], deduplication_id="skew")
    async with worker(cloud, tmp_path):
        done = await ended(cloud, QueuedJob.decode(json.dumps(body)))
        await eventually(lambda: depth(cloud, cloud.stack.jobs_queue.name) == 0)
    log = EventLog(redis, cloud.stack.name, ttl_seconds=60, max_length=100)
    events = [json.loads(entry.payload)["type"] for entry in await log.after(body["session_id"], START)]
    await redis.aclose()
    assert (done.status, events[-1]) == ("done", "done")
    *_, reply = cloud.history.messages("alice", body["conversation_id"], limit=10).items
    assert "turn 2" in reply.content
    assert "Ada" in reply.content
    assert cloud.history.conversations("alice", limit=5).items[0].title == "my cat is called Ada"
    assert depth(cloud, cloud.stack.dead_letters.name) == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_i9_events_of_another_version_are_followed(version: str) -> None:
    """I9: a client passes over events and fields that it does not know, and has the whole answer."""
    answer = Answer(written_by(version)["queue_message"]["job_id"])
    for frame in written_by(version)["events"]:
        try:
            answer.apply(Event.decode(json.dumps(frame)))
        except UnknownEventError:
            continue
    assert (answer.text, answer.status) == ("Ada, still.", "done")


async def test_i9_a_message_for_a_later_version_waits_for_it(cloud: Cloud, tmp_path: Path) -> None:
    """I1, I9: a version that is too high is told in the log; the message is no dead letter, however often it was received."""
    job = cloud.accept("for tomorrow")
    body = json.dumps({**json.loads(job.encode()), "v": 2})
    cloud.queue.send_raw(body, group=job.conversation_id, deduplication_id="later")
    wear(cloud, cloud.stack.jobs_queue.max_receive_count - 1)
    async with worker(cloud, tmp_path):
        await eventually(lambda: len(log_lines(tmp_path, "job is for a later version")) > 1)
        assert (await ended(cloud, accept(cloud, "for today [[words:5]]"))).status == "done"
    assert cloud.jobs.get(job.job_id, "alice").status == "queued"
    assert depth(cloud, cloud.stack.dead_letters.name) == 0
    assert depth(cloud, cloud.stack.jobs_queue.name) == 1


def test_i9_a_record_for_a_later_version_is_left_to_it(cloud: Cloud) -> None:
    """Neither is it sent again as a message of this version, nor does a turn behind it overtake it."""
    job = cloud.accept("for tomorrow")
    cloud.aws.dynamodb.update_item(
        TableName=cloud.stack.jobs.name,
        Key={"job_id": {"S": job.job_id}},
        UpdateExpression="SET v = :later",
        ExpressionAttributeValues={":later": {"N": "2"}},
    )
    assert [each for page in cloud.orphans.open(before=4e9) for each in page] == []
    question = cloud.history.message(job.conversation_id, job.message_id)
    assert question is not None
    with pytest.raises(InvalidRequestError, match="version 2"):
        cloud.jobs.first_open([question])
