"""What cloudia counts on, asked of each engine: queues, dead letters, tables, leases, parameters, provisioning.

One file, so that an engine that takes half a gigabyte is started once.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from botocore.exceptions import ClientError

from cloudia import ids, telemetry
from cloudia.cloud.aws import error_code
from cloudia.cloud.items import to_item
from cloudia.cloud.job_records import Ended, Held, Lease, LostLeaseError
from cloudia.cloud.parameters import Parameters
from cloudia.cloud.queue import JobQueue, Received
from cloudia.deploy.provision import destroy, provision
from cloudia.errors import UnavailableError
from cloudia.protocol import QueuedJob
from cloudia.settings import to_environment
from cloudia.sim.engines.answering import who_answers
from cloudia.stack import Parameter, Queue, Stack
from tests.cli.provider import reply
from tests.support import Cloud, RunningStack, eventually, make_cloud, start_stack, stop_stack
from tests.worker.working import accept, ended, fault, worker

ONE, OTHER = ids.conversation_id(), ids.conversation_id()
_numbers = itertools.count(1)


def new_job(conversation: str, content: str = "hello") -> QueuedJob:
    job_id, message_id = ids.turn_ids(None)
    return QueuedJob(job_id, conversation, message_id, "alice", content, time.time())


MakeQueue: TypeAlias = Callable[..., JobQueue]


@pytest.fixture
def make_queue(cloud: Cloud) -> Iterator[MakeQueue]:
    """Make queues that are gone after the test: a queue of dead letters, or one that names another as its own."""
    made: list[JobQueue] = []

    def make(dead_letters: JobQueue | None = None, **fields: Any) -> JobQueue:
        arn = dead_letters.arn if dead_letters else None
        queue = Queue(f"{cloud.stack.name}-contract{next(_numbers)}.fifo", **fields)
        attributes: Any = queue.attributes(arn)
        cloud.aws.sqs.create_queue(QueueName=queue.name, Attributes=attributes)
        made.append(JobQueue(cloud.aws.sqs, queue))
        return made[-1]

    yield make
    for queue in made:
        cloud.aws.sqs.delete_queue(QueueUrl=queue.url)


@pytest.fixture
def queue(make_queue: MakeQueue) -> JobQueue:
    """An empty queue of a test's own."""
    return make_queue()


def receive(queue: JobQueue, *, most: int = 10, wait: int = 0, visibility: int = 30) -> list[Received]:
    return queue.receive(most=most, wait_seconds=wait, visibility_seconds=visibility)


def drain(queue: JobQueue) -> list[QueuedJob]:
    """Receive and delete all that can be received."""
    jobs = []
    while batch := receive(queue):
        jobs += [QueuedJob.decode(message.body) for message in batch]
        assert queue.delete([message.receipt for message in batch]) == []
    return jobs


# --- queues -------------------------------------------------------------------------------------------------------------


def test_i3_each_group_is_in_order(queue: JobQueue) -> None:
    """I3: within a group as sent; a message in flight holds back its own group, and no other."""
    for number in range(3):
        for group in (ONE, OTHER):
            queue.send(new_job(group, str(number)))
    seen: dict[str, list[str]] = {ONE: [], OTHER: []}
    while batch := receive(queue, most=1):
        (held,) = batch
        assert all(other.group != held.group for other in receive(queue, visibility=0))
        seen[held.group].append(QueuedJob.decode(held.body).content)
        assert queue.delete([held.receipt]) == []
    assert seen == {ONE: ["0", "1", "2"], OTHER: ["0", "1", "2"]}


def test_i2_a_deduplication_id_counts_once(queue: JobQueue) -> None:
    """I2: the same id again is dropped, even after the delete; a fresh one is another message."""
    job = new_job(ONE)
    queue.send(job)
    queue.send(job)
    assert drain(queue) == [job]
    queue.send(job)
    assert receive(queue) == []
    queue.send_raw(job.encode(), group=ONE, deduplication_id="fresh")
    assert drain(queue) == [job]


def test_batches_are_bounded_and_name_what_failed(queue: JobQueue) -> None:
    """I7: at most ten at a time; of a batch with a bad receipt the good ones are done and the bad one is named."""
    for _ in range(12):
        queue.send(new_job(ids.conversation_id()))
    first = receive(queue)
    assert 0 < len(first) <= 10
    receipts = [message.receipt for message in first]
    assert queue.delete([*receipts[:3], "no receipt"]) == ["no receipt"]
    assert queue.change_visibility([*receipts[3:5], "no receipt"], 0) == ["no receipt"]
    assert len(drain(queue)) == 12 - len(first) + 2


async def test_backing_off_by_visibility(queue: JobQueue) -> None:
    """A message comes back when its time is over and not before, counted, and before the next one of its group."""
    first, second = new_job(ONE, "first"), new_job(ONE, "second")
    queue.send(first)
    queue.send(second)
    (message,) = receive(queue, most=1)
    assert queue.change_visibility([message.receipt], 1) == []
    assert receive(queue) == []
    again = await eventually(lambda: receive(queue, most=1), every=0.1)
    assert QueuedJob.decode(again[0].body) == first
    assert again[0].receive_count == 2
    assert queue.change_visibility([again[0].receipt], 0) == []
    assert drain(queue) == [first, second]


def test_a_long_poll_waits(queue: JobQueue) -> None:
    """An empty queue answers after the wait, not before."""
    began = time.monotonic()
    assert receive(queue, wait=1) == []
    assert 0.9 < time.monotonic() - began < 5


def test_a_queue_that_is_not_there(cloud: Cloud) -> None:
    """A missing queue is known for what it is."""
    with pytest.raises(UnavailableError) as missing:
        JobQueue(cloud.aws.sqs, Queue("nowhere.fifo")).send(new_job(ONE))
    assert missing.value.code == "not_provisioned"


# --- dead letters -----------------------------------------------------------------------------------------------------------


def test_i1_what_is_received_too_often_becomes_a_dead_letter(make_queue: MakeQueue, queue: JobQueue) -> None:
    """I1: by `maxReceiveCount`, with body and group as they were; and redriven it is received as if it were new."""
    source = make_queue(queue, max_receive_count=2)
    job = new_job(ONE)
    source.send(job)
    assert [message.receive_count for _ in range(4) for message in receive(source, visibility=0)] == [1, 2]
    (letter,) = receive(queue)
    assert (QueuedJob.decode(letter.body), letter.group) == (job, ONE)
    # Redrive: receive, send with a fresh deduplication id, delete.
    source.send_raw(letter.body, group=letter.group, deduplication_id=f"{job.job_id}-again")
    assert queue.delete([letter.receipt]) == []
    (back,) = receive(source)
    assert (QueuedJob.decode(back.body), back.receive_count) == (job, 1)
    assert source.delete([back.receipt]) == []
    assert receive(queue) == []


async def test_i1_the_worker_buries_and_answers(engine: str, stack: RunningStack, tmp_path: Path) -> None:
    """I1: a worker on this engine answers a job, and writes the one that fails each time to the DLQ, with the reason."""
    own = make_cloud(stack, aws_endpoint_url=engine, llm_model="sim-1", worker_max_attempts=1)
    try:
        async with worker(own, tmp_path):
            good = accept(own, "hello [[words:5]]")
            assert (await ended(own, good)).status == "done"
        bad = replace(own.settings, llm_model=f"sim-{own.stack.name}")
        fault(stack, kind="status", status=503, model=bad.llm_model, **{"for": 60})
        async with worker(Cloud(bad, own.secrets), tmp_path):
            job = accept(own, "hopeless")
            dead = await ended(own, job)
        assert (dead.status, dead.attempts) == ("dead_lettered", 1)
        url, names = own.dead_letters.url, ["All"]
        (letter,) = own.aws.sqs.receive_message(QueueUrl=url, MessageAttributeNames=names)["Messages"]
        assert QueuedJob.decode(letter["Body"]) == job
        assert letter["MessageAttributes"]["error_type"]["StringValue"] == "llm_failed"
        assert drain(own.queue) == []
    finally:
        list(destroy(own.aws, own.stack))


@pytest.mark.long
def test_a_stack_on_this_engine(engine: str, cloud: Cloud, tmp_path: Path) -> None:
    """`up` uses an engine that runs, says what it is, answers, and leaves it running; a job that fails is a dead letter."""
    found = who_answers(engine)
    assert found
    kind = "localstack" if found.name == "LocalStack" else "endpoint"
    environment = {**to_environment(cloud.settings, "functions"), "CLOUDIA_WORKER_MAX_ATTEMPTS": "1"}
    environment |= {"CLOUDIA_STACK_NAME": "contract-up"}
    own = start_stack(tmp_path, "--engine", kind, "--endpoint-url", engine, **environment)
    try:
        assert "engine" not in own.run["pids"]
        assert f"engine {found} at {engine}" in own.cli("status").stdout
        reply(own.run, "From here.")
        assert own.json("send", "hello")["reply"] == "From here."
        own.json("chaos", "llm", "500", "--for", "60s")
        assert own.cli("send", "hopeless", "--json").returncode == 6
    finally:
        stop_stack(own)
    assert who_answers(engine) == found
    assert "deleted" in {change.action for change in destroy(cloud.aws, Stack("contract-up"))}


# --- tables ---------------------------------------------------------------------------------------------------------------


def test_a_condition_that_fails_writes_nothing(cloud: Cloud) -> None:
    """A conditional write is refused by its name, and the item stays as it was."""
    table = cloud.stack.presence.name
    item = to_item({"part": "contract", "id": "one", "value": 1})
    condition = "attribute_not_exists(id)"
    cloud.aws.dynamodb.put_item(TableName=table, Item=item, ConditionExpression=condition)
    changed = to_item({"part": "contract", "id": "one", "value": 2})
    with pytest.raises(ClientError) as refused:
        cloud.aws.dynamodb.put_item(TableName=table, Item=changed, ConditionExpression=condition)
    assert error_code(refused.value) == "ConditionalCheckFailedException"
    key = to_item({"part": "contract", "id": "one"})
    assert cloud.aws.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"] == item


def test_a_transaction_is_all_or_nothing(cloud: Cloud) -> None:
    """One condition that fails cancels every write, and the reasons say which it was."""
    table = cloud.stack.presence.name
    writes: list[Any] = [
        {"Put": {"TableName": table, "Item": to_item({"part": "tx", "id": "one"})}},
        {
            "Put": {
                "TableName": table,
                "Item": to_item({"part": "tx", "id": "two"}),
                "ConditionExpression": "attribute_exists(id)",
            }
        },
    ]
    with pytest.raises(ClientError) as refused:
        cloud.aws.dynamodb.transact_write_items(TransactItems=writes)
    assert error_code(refused.value) == "TransactionCanceledException"
    response: Any = refused.value.response
    assert [reason["Code"] for reason in response["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    key = to_item({"part": "tx", "id": "one"})
    assert "Item" not in cloud.aws.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)


def test_an_idempotency_key_is_one_job(cloud: Cloud) -> None:
    """I2: the same message under the same key is the same job, and turns of a conversation form a chain."""
    fields: dict[str, Any] = {
        "user_id": "carol",
        "content": "hello",
        "conversation_id": None,
        "session_id": None,
        "idempotency_key": "k1",
        "traceparent": telemetry.new_traceparent(),
    }
    first, _ = cloud.intake.accept(**fields)
    again, _ = cloud.intake.accept(**fields)
    assert again.job_id == first.job_id
    then, _ = cloud.intake.accept(**{**fields, "conversation_id": first.conversation_id, "idempotency_key": None})
    assert then.previous_message_id == first.message_id


def test_an_index_sorts_by_its_own_key(cloud: Cloud) -> None:
    """Conversations come by their last activity, the newest first, page by page."""
    started = [accept(cloud, f"number {number}").conversation_id for number in range(3)]
    accept(cloud, "again", conversation=started[0])
    listed: list[str] = []
    cursor = None
    while True:
        page = cloud.history.conversations("alice", limit=2, cursor=cursor)
        listed += [item.conversation_id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [each for each in listed if each in started] == [started[0], started[2], started[1]]


def test_ttl_is_described(cloud: Cloud) -> None:
    """TTL is on for the tables that have one, on their attribute."""
    for table in cloud.stack.tables:
        found: Any = cloud.aws.dynamodb.describe_time_to_live(TableName=table.name)["TimeToLiveDescription"]
        on = found.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}
        assert (on, found.get("AttributeName") if on else None) == (
            table.ttl_attribute is not None,
            table.ttl_attribute,
        )


# --- leases ---------------------------------------------------------------------------------------------------------------


def test_a_lease_is_one_workers(cloud: Cloud) -> None:
    """I2: one holder at a time; a later lease has a higher fence, and whoever has an older one writes nothing."""
    job = accept(cloud, "lease me")
    first = cloud.jobs.lease(job.job_id, "wrk_1", 0.2)
    assert isinstance(first, Lease)
    held = cloud.jobs.lease(job.job_id, "wrk_2", 30)
    assert isinstance(held, Held)
    time.sleep(max(0.0, held.expires_at - time.time()) + 0.01)
    second = cloud.jobs.lease(job.job_id, "wrk_2", 30)
    assert isinstance(second, Lease)
    assert (second.fence, second.job.attempts) == (first.fence + 1, 2)
    with pytest.raises(LostLeaseError):
        cloud.jobs.finish(first, "done", content="too late")
    with pytest.raises(LostLeaseError):
        cloud.jobs.renew(first, 30)
    cloud.jobs.finish(second, "done", content="the answer")
    assert isinstance(cloud.jobs.lease(job.job_id, "wrk_3", 30), Ended)
    contents = [item.content for item in cloud.history.messages("alice", job.conversation_id, limit=10).items]
    assert sorted(contents) == ["lease me", "the answer"]


# --- parameters -----------------------------------------------------------------------------------------------------------


def test_a_secret_is_stored_encrypted_and_read_in_the_clear(cloud: Cloud) -> None:
    """I6: a SecureString is its value to who decrypts it; a parameter that is not there is none."""
    known = Parameters(cloud.aws.ssm)
    assert known.require(cloud.stack.token_secret) == cloud.secrets["token"]
    assert known.get(Parameter("/nowhere/key", "never made")) is None
    plain = cloud.aws.ssm.get_parameter(Name=cloud.stack.token_secret.name)["Parameter"]
    assert plain["Type"] == "SecureString"


# --- provisioning ---------------------------------------------------------------------------------------------------------


def test_provisioning_brings_back_and_destroys(cloud: Cloud) -> None:
    """Twice changes nothing; what drifted is named and brought back; destroying leaves nothing, twice."""
    stack = Stack(f"{cloud.stack.name}-provision")
    secrets = {stack.token_secret.name: "one", stack.session_secret.name: "two"}

    def changed() -> dict[str, tuple[str, ...]]:
        changes = list(provision(cloud.aws, stack, secrets))
        return {change.name: change.drift for change in changes if change.action != "unchanged"}

    assert len(changed()) == len(stack.queues) + len(stack.tables) + len(secrets)
    assert changed() == {}

    url = cloud.aws.sqs.get_queue_url(QueueName=stack.jobs_queue.name)["QueueUrl"]
    by_hand: Any = {"VisibilityTimeout": "5", "RedrivePolicy": ""}
    cloud.aws.sqs.set_queue_attributes(QueueUrl=url, Attributes=by_hand)
    off: Any = {"Enabled": False, "AttributeName": stack.jobs.ttl_attribute}
    cloud.aws.dynamodb.update_time_to_live(TableName=stack.jobs.name, TimeToLiveSpecification=off)
    cloud.aws.ssm.put_parameter(Name=stack.token_secret.name, Value="other", Type="String", Overwrite=True)
    drift = changed()
    assert set(drift) == {stack.jobs_queue.name, stack.jobs.name, stack.token_secret.name}
    assert set(drift[stack.jobs_queue.name]) == {"VisibilityTimeout", "RedrivePolicy"}
    assert drift[stack.jobs.name] == ("TimeToLive",)
    assert "Value" in drift[stack.token_secret.name]
    assert changed() == {}

    assert {change.action for change in destroy(cloud.aws, stack)} == {"deleted", "absent"}
    assert {change.action for change in destroy(cloud.aws, stack)} == {"absent"}
