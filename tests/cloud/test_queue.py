"""The queue of jobs: one order a conversation, nothing twice, nothing lost."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from cloudia import ids
from cloudia.cloud.queue import BATCH, Attribute, JobQueue, Received
from cloudia.deploy.provision import provision
from cloudia.errors import UnavailableError
from cloudia.protocol import QueuedJob
from cloudia.settings import SETTINGS
from cloudia.stack import Queue
from tests.support import Cloud, eventually


def new_job(conversation_id: str | None = None, content: str = "hello", previous: str | None = None) -> QueuedJob:
    job_id, message_id = ids.turn_ids(previous)
    return QueuedJob(job_id, conversation_id or ids.conversation_id(), message_id, "alice", content, 1_700_000_000.5)


def receive(queue: JobQueue, *, most: int = 10, wait: int = 0, visibility: int = 30) -> list[Received]:
    return queue.receive(most=most, wait_seconds=wait, visibility_seconds=visibility)


def test_a_job_comes_out_as_it_went_in(cloud: Cloud) -> None:
    """Body, group and count of a message are its job's."""
    job = new_job(content="Grüße 👩‍👩‍👧‍👦 \x00\t\r\n \ufffe\uffff" + "é" * 15_000)
    cloud.queue.send(job)
    (received,) = receive(cloud.queue)
    assert QueuedJob.decode(received.body) == job
    assert received.group == job.conversation_id
    assert received.receive_count == 1
    assert received.message_id
    assert cloud.queue.delete([received.receipt]) == []


def test_the_longest_message_that_is_accepted_can_be_sent(cloud: Cloud) -> None:
    """I1: content of the highest limit, of characters that JSON blows up the most, fits into a queue message."""
    most = SETTINGS["limits_content_bytes"].high
    assert isinstance(most, int)
    job = new_job(content="\x01" * most)
    cloud.queue.send(job)
    (received,) = receive(cloud.queue)
    assert QueuedJob.decode(received.body) == job


def test_what_is_sent_during_a_poll_is_received_at_once(cloud: Cloud) -> None:
    """Not with the engine's next look, up to 0.1 s away: of ten polls just begun one at least has it in half of that."""
    waits = []
    with ThreadPoolExecutor() as pool:
        for _ in range(10):
            polled = pool.submit(receive, cloud.queue, wait=20)
            time.sleep(0.02)
            began = time.monotonic()
            cloud.queue.send(new_job())
            (received,) = polled.result()
            waits.append(time.monotonic() - began)
            cloud.queue.delete([received.receipt])
    assert min(waits) < 0.05


def test_turns_come_out_in_the_order_they_went_in(cloud: Cloud) -> None:
    """I3: of every conversation, in order; while one is in flight, the later ones of that conversation wait."""
    ours, theirs = ids.conversation_id(), ids.conversation_id()
    for number in range(3):
        cloud.queue.send(new_job(ours, f"our {number}"))
        cloud.queue.send(new_job(theirs, f"their {number}"))
    seen: dict[str, list[str]] = {ours: [], theirs: []}
    while True:
        batch = receive(cloud.queue, most=1)
        if not batch:
            break
        (received,) = batch
        # What is in flight holds the rest of its conversation back, and of no other.
        assert all(other.group != received.group for other in receive(cloud.queue, visibility=0))
        seen[received.group].append(QueuedJob.decode(received.body).content)
        cloud.queue.delete([received.receipt])
    assert seen == {ours: ["our 0", "our 1", "our 2"], theirs: ["their 0", "their 1", "their 2"]}


def test_a_turn_that_is_handed_back_comes_before_the_next(cloud: Cloud) -> None:
    """I3: a failed turn does not lose its place."""
    group = ids.conversation_id()
    cloud.queue.send(new_job(group, "first"))
    cloud.queue.send(new_job(group, "second"))
    (first,) = receive(cloud.queue, most=1)
    assert cloud.queue.change_visibility([first.receipt], 0) == []
    again = receive(cloud.queue, most=1)[0]
    assert QueuedJob.decode(again.body).content == "first"
    assert again.receive_count == 2
    assert again.message_id == first.message_id


def test_a_job_sent_twice_is_there_once(cloud: Cloud) -> None:
    """I2: a request that is sent again within five minutes enqueues nothing, even after the job was taken."""
    job = new_job()
    cloud.queue.send(job)
    cloud.queue.send(job)
    (received,) = receive(cloud.queue)
    cloud.queue.delete([received.receipt])
    cloud.queue.send(job)
    assert receive(cloud.queue) == []


def test_a_receive_is_bounded(cloud: Cloud) -> None:
    """I7: at most what was asked for, and never more than SQS's ten."""
    for _ in range(12):
        cloud.queue.send(new_job())
    assert len(receive(cloud.queue, most=3)) == 3
    assert len(receive(cloud.queue, most=100)) <= BATCH


def test_an_empty_queue_answers_after_the_wait(cloud: Cloud) -> None:
    """A long poll takes its time, a short one none."""
    began = time.monotonic()
    assert receive(cloud.queue) == []
    assert time.monotonic() - began < 0.9
    began = time.monotonic()
    assert receive(cloud.queue, wait=1) == []
    assert 0.9 < time.monotonic() - began < 5


async def test_a_receipt_whose_time_ran_out_is_reported(cloud: Cloud) -> None:
    """Who was too slow learns that the message is another's: nothing is deleted behind the new owner's back."""
    cloud.queue.send(new_job())
    cloud.queue.send(new_job())
    slow = receive(cloud.queue, visibility=1)
    assert len(slow) == 2
    found: list[Received] = []

    def all_again() -> bool:
        found.extend(receive(cloud.queue))
        return len(found) == 2

    await eventually(all_again, every=0.1)
    stale = [message.receipt for message in slow]
    assert set(cloud.queue.delete(stale)) == set(stale)
    fresh = [message.receipt for message in found]
    assert cloud.queue.change_visibility(fresh, 30) == []
    assert cloud.queue.delete(fresh) == []
    assert cloud.queue.change_visibility(fresh[:1], 30) == fresh[:1]


def test_what_was_refused_is_named_and_the_rest_is_done(cloud: Cloud) -> None:
    """A batch with a receipt that is none deletes the others."""
    for _ in range(3):
        cloud.queue.send(new_job())
    receipts = [message.receipt for message in receive(cloud.queue)]
    assert len(receipts) == 3
    mixed = [receipts[0], "no receipt", receipts[1], receipts[2]]
    assert cloud.queue.change_visibility(mixed, 30) == ["no receipt"]
    assert cloud.queue.delete(mixed) == ["no receipt"]


def letters(cloud: Cloud, queue: Queue) -> list[dict[str, Any]]:
    """Return the messages of a queue with everything on them."""
    url = cloud.aws.sqs.get_queue_url(QueueName=queue.name)["QueueUrl"]
    answer: Any = cloud.aws.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    )
    return list(answer.get("Messages", []))


def test_a_dead_letter_says_why(cloud: Cloud) -> None:
    """The body as it was, its reasons as attributes; what is empty is left out, what SQS refuses is replaced."""
    cloud.dead_letters.send_raw(
        "{not json",
        group="cnv_x",
        deduplication_id="d1",
        attributes={
            "error_type": Attribute("llm_failed"),
            "error_message": Attribute("Grüße\x1b[31m\x00\uffff"),
            "traceparent": Attribute(""),
        },
    )
    cloud.dead_letters.send_raw("{not json", group="cnv_x", deduplication_id="d1")
    (letter,) = letters(cloud, cloud.stack.dead_letters)
    assert letter["Body"] == "{not json"
    assert letter["Attributes"]["MessageGroupId"] == "cnv_x"
    assert {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()} == {
        "error_type": "llm_failed",
        "error_message": "Grüße\ufffd[31m\ufffd\ufffd",
    }


def test_a_job_that_kills_its_workers_becomes_a_dead_letter(cloud: Cloud) -> None:
    """I1: what was received too often and never deleted is moved to the dead letters, body and group as they were."""
    cloud.stack.jobs_queue = replace(cloud.stack.jobs_queue, max_receive_count=2)
    changes = {change.name: change for change in provision(cloud.aws, cloud.stack, {})}
    assert changes[cloud.stack.jobs_queue.name].drift == ("RedrivePolicy",)
    job = new_job()
    cloud.queue.send(job)
    assert [message.receive_count for _ in range(4) for message in receive(cloud.queue, visibility=0)] == [1, 2]
    (letter,) = letters(cloud, cloud.stack.dead_letters)
    assert QueuedJob.decode(letter["Body"]) == job
    assert letter["Attributes"]["MessageGroupId"] == job.conversation_id


def test_a_queue_that_is_not_there_says_so(cloud: Cloud) -> None:
    """Every verb raises `UnavailableError` with the code `not_provisioned`."""
    missing = JobQueue(cloud.aws.sqs, Queue("nowhere.fifo"))
    verbs: list[Any] = [
        lambda: missing.send(new_job()),
        lambda: missing.send_raw("x", group="g", deduplication_id="d"),
        lambda: receive(missing),
        lambda: missing.delete(["x"]),
        lambda: missing.change_visibility(["x"], 1),
    ]
    for verb in verbs:
        with pytest.raises(UnavailableError) as refused:
            verb()
        assert refused.value.code == "not_provisioned"


def test_a_queue_that_is_deleted_says_so(cloud: Cloud) -> None:
    """The same where its URL was known already."""
    assert cloud.queue.url == cloud.queue.url
    cloud.aws.sqs.delete_queue(QueueUrl=cloud.queue.url)
    with pytest.raises(UnavailableError) as refused:
        cloud.queue.send(new_job())
    assert refused.value.code == "not_provisioned"
