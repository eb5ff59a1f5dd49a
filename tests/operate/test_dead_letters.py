"""Dead letters: seen without being touched, redriven without being lost, whoever looks or dies meanwhile."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudia import ids, telemetry
from cloudia.cloud.job_records import Ended, Held, Lease, Reopened, Resent, Unknown
from cloudia.cloud.queue import Attribute, Sending
from cloudia.errors import CloudiaError, InvalidRequestError, UnavailableError
from cloudia.operate import peek as peek_module
from cloudia.operate.dead_letters import DeadLetters, Edit
from cloudia.operate.letters import Letter, decode_export
from cloudia.protocol import QueuedJob
from tests.support import Cloud, RunningStack, make_cloud

if TYPE_CHECKING:
    from collections.abc import Sequence

ERROR = {"code": "llm_failed", "message": "no", "hint": "", "retryable": True, "retry_after": None}


@pytest.fixture
def shelf(cloud: Cloud) -> DeadLetters:
    return DeadLetters(cloud.dead_letters, cloud.queue, cloud.jobs)


@pytest.fixture(params=["peek", "receive"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Look as an engine lets one, or as SQS itself: by receiving."""
    if request.param == "receive":
        monkeypatch.setattr(peek_module, "peek", lambda _queue: None)
    return str(request.param)


def dead(cloud: Cloud, content: str = "hello", conversation: str | None = None, attempts: int = 2) -> QueuedJob:
    """Accept a job and let it die, as a worker does."""
    job = cloud.accept(content, conversation_id=conversation)
    for _ in range(attempts - 1):
        cloud.jobs.release(leased(cloud, job), error=ERROR)
    lease = leased(cloud, job)
    bury(cloud, job, attempts)
    cloud.jobs.finish(lease, "dead_lettered", content="", error=ERROR)
    return job


def leased(cloud: Cloud, job: QueuedJob) -> Lease:
    lease = cloud.jobs.lease(job.job_id, "wrk_1", 30)
    assert isinstance(lease, Lease)
    return lease


def bury(cloud: Cloud, job: QueuedJob, attempts: int = 2) -> None:
    cloud.dead_letters.send_raw(
        job.encode(),
        group=job.conversation_id,
        deduplication_id=ids.new(),
        attributes={
            "error_type": Attribute("llm_failed"),
            "error_message": Attribute("no"),
            "attempts": Attribute(str(attempts)),
            "failed_at": Attribute(ids.now()),
            "traceparent": Attribute(job.traceparent or ""),
        },
    )


def waiting(cloud: Cloud) -> list[QueuedJob]:
    """Take all jobs out of the jobs queue."""
    found = []
    while received := cloud.queue.receive(most=10, wait_seconds=0, visibility_seconds=30):
        cloud.queue.delete([message.receipt for message in received])
        found += [QueuedJob.decode(message.body) for message in received]
    return found


def outcomes(shelf: DeadLetters, letters: Sequence[Letter], **options: Any) -> list[str]:
    return [one.outcome for one in shelf.redrive(letters, **options)]


class Killed(BaseException):
    """Stands for a kill."""


def die(*_: Any, **__: Any) -> Any:
    """Be killed."""
    raise Killed


# --- looking -----------------------------------------------------------------------------------------------------------


def test_a_letter_tells_all_that_is_known(cloud: Cloud, shelf: DeadLetters, way: str) -> None:
    """When, whose, how often and why; newest first; the record of its job beside it."""
    first = dead(cloud, "first")
    second = dead(cloud, "second", attempts=1)
    seen = shelf.look()
    assert [letter.id for letter in seen.letters] == [second.job_id, first.job_id]
    told = seen.letters[1].to_json(now=time.time())
    assert told["conversation_id"] == first.conversation_id
    assert (told["user_id"], told["attempts"], told["error_type"]) == ("alice", 2, "llm_failed")
    assert (told["buried_by"], told["job_status"], told["redrivable"]) == ("worker", "dead_lettered", True)
    assert told["trace_id"] == telemetry.trace_id(first.traceparent)
    assert 0 <= told["age_seconds"] < 30
    assert "first" not in json.dumps(told)


def test_looking_takes_nothing(cloud: Cloud, shelf: DeadLetters, way: str) -> None:
    """Look again and again: every letter is visible still, and each look saw them all; one conversation's letters too."""
    first = dead(cloud)
    jobs = [first, dead(cloud, "again", conversation=first.conversation_id), *(dead(cloud) for _ in range(10))]
    wanted = {job.job_id for job in jobs}
    for _ in range(3):
        seen = shelf.look()
        assert {letter.id for letter in seen.letters} == wanted
        assert seen.unseen == 0
        assert cloud.dead_letters.stats().visible == 12


def test_what_stands_behind_a_letter_of_its_conversation_is_counted(cloud: Cloud, shelf: DeadLetters, way: str) -> None:
    """SQS hands no more of a group out while some of it is held: a look says how many it missed; a redrive gets to them."""
    first = dead(cloud)
    for _ in range(9):
        dead(cloud)
    last = dead(cloud, "again", conversation=first.conversation_id)
    seen = shelf.look()
    assert seen.unseen == (0 if way == "peek" else 1)
    assert (last.job_id in {letter.id for letter in seen.letters}) == (way == "peek")
    assert set(outcomes(shelf, seen.letters)) == {"redriven"}
    assert outcomes(shelf, shelf.look().letters) == ([] if way == "peek" else ["redriven"])


def test_two_who_look_at_once_see_everything(cloud: Cloud, shelf: DeadLetters, way: str) -> None:
    """Each waits for what the other holds; afterwards all is as it was."""
    jobs = {dead(cloud).job_id for _ in range(12)}
    seen: list[set[str]] = []
    lookers = [
        threading.Thread(target=lambda: seen.append({letter.id for letter in shelf.look().letters})) for _ in range(2)
    ]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join()
    assert seen == [jobs, jobs]
    assert cloud.dead_letters.stats().visible == 12


def test_what_others_hold_is_counted(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """I7: the wait for them ends, and says how many were not seen."""
    monkeypatch.setattr(peek_module, "peek", lambda _queue: None)
    dead(cloud)
    dead(cloud)
    cloud.dead_letters.take(most=1, wait_seconds=0, visibility_seconds=30)
    seen = peek_module.look(cloud.dead_letters, patience=0.3)
    assert (len(seen.messages), seen.unseen) == (1, 1)


def test_what_is_held_is_bounded(cloud: Cloud, shelf: DeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    """I7: a look holds so many and no more, and counts the rest; a redrive, which deletes, gets to them all."""
    monkeypatch.setattr(peek_module, "peek", lambda _queue: None)
    jobs = [dead(cloud) for _ in range(25)]
    letters = shelf.look().letters
    monkeypatch.setattr(peek_module, "_MOST_HELD", 15)
    seen = shelf.look()
    assert (len(seen.letters), seen.unseen) == (20, 5)
    assert cloud.dead_letters.stats().visible == 25
    assert outcomes(shelf, letters) == ["redriven"] * len(jobs)


def test_what_is_not_ours_is_shown_as_what_it_is(cloud: Cloud, shelf: DeadLetters, way: str) -> None:
    """Foreign JSON, garbage, a job without a record, and what SQS moved by itself: each is told apart."""
    job = cloud.accept("x")
    unknown_id, message_id = ids.turn_ids(None)
    unknown = replace(job, job_id=unknown_id, message_id=message_id)
    bodies = ('{"foreign": true}', "\u0001\u0002garbage".replace("\u0001", "").replace("\u0002", ""), unknown.encode())
    for number, body in enumerate((*bodies, job.encode())):
        cloud.dead_letters.send_raw(body, group=f"g{number}", deduplication_id=str(number))
    seen = {letter.message.group: letter for letter in shelf.look().letters}
    assert [seen[f"g{number}"].error_type for number in range(4)] == [
        "not_a_job",
        "not_a_job",
        "unknown_job",
        "received_too_often",
    ]
    assert {letter.buried_by for letter in seen.values()} == {"sqs"}
    assert [seen[f"g{number}"].redrivable for number in range(4)] == [False, False, False, True]
    assert seen["g0"].id == seen["g0"].message.message_id
    assert sorted(outcomes(shelf, list(seen.values()))) == ["not_a_job"] * 3 + ["redriven"]
    assert cloud.dead_letters.stats().total == 3
    assert [job.job_id for job in waiting(cloud)] == [job.job_id]


# --- redriving ---------------------------------------------------------------------------------------------------------


def test_a_redriven_job_starts_anew(cloud: Cloud, shelf: DeadLetters, way: str) -> None:
    """Its id and its fence stay; attempts, error and answer are cleared; its answer takes the place of the failure."""
    job = dead(cloud)
    assert outcomes(shelf, shelf.look().letters) == ["redriven"]
    assert cloud.dead_letters.stats().total == 0
    assert waiting(cloud) == [job]
    reopened = cloud.jobs.get(job.job_id, "alice")
    assert (reopened.status, reopened.attempts, reopened.error, reopened.reply_message_id) == ("queued", 0, None, None)
    lease = cloud.jobs.lease(job.job_id, "wrk_2", 30)
    assert isinstance(lease, Lease)
    assert (lease.fence, lease.job.attempts) == (3, 1)
    cloud.jobs.finish(lease, "done", content="42")
    history = cloud.history.messages("alice", job.conversation_id, limit=10).items
    assert [(message.content, message.status) for message in history] == [("hello", None), ("42", "done")]


def test_the_order_of_a_conversation_is_kept(cloud: Cloud, shelf: DeadLetters, way: str) -> None:
    """Letters of one conversation are redriven in the order they died, in its group."""
    first = dead(cloud, "0")
    jobs = [first, *(dead(cloud, str(number), conversation=first.conversation_id) for number in range(1, 5))]
    assert outcomes(shelf, shelf.look().letters) == ["redriven"] * 5
    assert [job.content for job in waiting(cloud)] == [job.content for job in jobs]


def test_only_the_chosen_are_redriven(cloud: Cloud, shelf: DeadLetters, way: str) -> None:
    """The others are there afterwards, visible at once."""
    jobs = [dead(cloud) for _ in range(13)]
    chosen = [letter for letter in shelf.look().letters if letter.id in {jobs[2].job_id, jobs[11].job_id}]
    assert outcomes(shelf, chosen) == ["redriven"] * 2
    assert cloud.dead_letters.stats().visible == 11
    assert {job.job_id for job in waiting(cloud)} == {jobs[2].job_id, jobs[11].job_id}


@pytest.mark.parametrize("step", ["reopen", "send_batch", "delete"])
def test_a_redrive_may_die_at_any_step(cloud: Cloud, shelf: DeadLetters, step: str) -> None:
    """I1: after reopen, after send, or before either: the letter is there still, and the next redrive does the rest."""
    job = dead(cloud)

    owner: Any = {"reopen": cloud.jobs, "send_batch": cloud.queue, "delete": cloud.dead_letters}[step]
    letters = shelf.look().letters
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, step, die)
        redriving = shelf.redrive(letters)
        with pytest.raises(Killed):
            next(redriving)
    assert cloud.dead_letters.stats().visible == 1
    assert outcomes(shelf, shelf.look().letters) == ["redriven"]
    assert cloud.dead_letters.stats().total == 0
    assert {found.job_id for found in waiting(cloud)} == {job.job_id}
    assert cloud.jobs.get(job.job_id, "alice").status == "queued"


def test_a_letter_whose_job_went_on_is_only_deleted(cloud: Cloud, shelf: DeadLetters) -> None:
    """A redrive that died before it deleted the letter: the job is in work, then done, and is not begun again."""
    job = dead(cloud)
    (letter,) = shelf.look().letters
    assert cloud.jobs.reopen(job, letter=letter.message.message_id) == Reopened()
    lease = cloud.jobs.lease(job.job_id, "wrk_2", 30)
    assert isinstance(lease, Lease)
    assert outcomes(shelf, [letter]) == ["already_redriven"]
    bury(cloud, job)
    assert outcomes(shelf, shelf.look().letters) == ["in_work"]  # Another letter, and a worker that holds the job.
    cloud.jobs.finish(lease, "done", content="42")
    assert outcomes(shelf, shelf.look().letters) == ["already_ended"]
    assert cloud.dead_letters.stats().total == 0
    assert waiting(cloud) == []


def test_what_another_redrove_is_gone(cloud: Cloud, shelf: DeadLetters) -> None:
    """Two redrives of the same letters: each letter is redriven once, and neither of them fails."""
    jobs = [dead(cloud) for _ in range(25)]
    letters = shelf.look().letters
    found: list[list[str]] = []
    redrives = [threading.Thread(target=lambda: found.append(outcomes(shelf, letters))) for _ in range(2)]
    for redrive in redrives:
        redrive.start()
    for redrive in redrives:
        redrive.join()
    assert sorted(one for many in found for one in many) == ["gone"] * 25 + ["redriven"] * 25
    assert {job.job_id for job in waiting(cloud)} == {job.job_id for job in jobs}


def test_looking_during_a_redrive_loses_nothing(cloud: Cloud, shelf: DeadLetters, way: str) -> None:
    """Somebody lists again and again while all is redriven: every job is sent, once."""
    jobs = {dead(cloud).job_id for _ in range(30)}
    letters = shelf.look().letters
    stop = threading.Event()

    def look_on() -> None:
        while not stop.is_set():
            peek_module.look(cloud.dead_letters, patience=0.2)

    looker = threading.Thread(target=look_on)
    looker.start()
    try:
        assert outcomes(shelf, letters) == ["redriven"] * 30
    finally:
        stop.set()
        looker.join()
    assert cloud.dead_letters.stats().total == 0
    assert sorted(job.job_id for job in waiting(cloud)) == sorted(jobs)


def test_a_text_is_changed_with_the_job(cloud: Cloud, shelf: DeadLetters) -> None:
    """The user's message in the history and the message to the worker have the new text, and the job its model."""
    job = dead(cloud, "typo")
    (letter,) = shelf.look().letters
    edits = {letter.message.message_id: Edit("no typo", "sim-2")}
    assert outcomes(shelf, [letter], edits=edits) == ["redriven"]
    assert waiting(cloud) == [replace(job, content="no typo", model="sim-2")]
    message = cloud.history.message(job.conversation_id, job.message_id)
    assert message
    assert message.content == "no typo"


@pytest.mark.parametrize("edit", [Edit(), Edit("new")])
def test_a_job_of_a_deleted_conversation_is_not_redriven(cloud: Cloud, shelf: DeadLetters, edit: Edit) -> None:
    """What its owner deleted does not come back: the letter stays, and the job stays dead."""
    job = dead(cloud)
    cloud.history.delete("alice", job.conversation_id)
    (letter,) = shelf.look().letters
    assert outcomes(shelf, [letter], edits={letter.message.message_id: edit}) == ["no_conversation"]
    assert cloud.jobs.get(job.job_id, "alice").status == "dead_lettered"
    assert cloud.dead_letters.stats().visible == 1
    assert cloud.history.message(job.conversation_id, job.message_id) is None


@pytest.mark.parametrize(
    "attributes",
    [
        {"error_type": "x", "failed_at": "9999-12-31T23:59:59-23:00", "attempts": "9" * 40, "traceparent": "x"},
        {"error_type": "x", "failed_at": "0001-01-01T00:00:00+14:00", "attempts": "²"},
        {"failed_at": "yesterday", "attempts": "-1"},
    ],
)
def test_attributes_that_are_nonsense_do_no_harm(cloud: Cloud, shelf: DeadLetters, attributes: dict[str, str]) -> None:
    """Anybody may write into a queue: what they write is shown as far as it makes sense."""
    job = dead(cloud)
    half = job.encode().replace("hello", "\\ud800")
    texts = {name: Attribute(text) for name, text in attributes.items()}
    for number, body in enumerate((job.encode(), half)):
        cloud.dead_letters.send_raw(body, group="g", deduplication_id=str(number), attributes=texts)
    told = [letter.to_json(now=time.time()) for letter in shelf.look().letters]
    assert json.dumps(told).encode()
    assert sorted(entry["redrivable"] for entry in told) == [False, True, True]


def test_a_rate_is_kept(cloud: Cloud, shelf: DeadLetters) -> None:
    """Six letters at ten a second take half a second."""
    for _ in range(6):
        dead(cloud)
    letters = shelf.look().letters
    began = time.monotonic()
    assert outcomes(shelf, letters, rate=10) == ["redriven"] * 6
    assert 0.35 < time.monotonic() - began < 5


def test_a_service_without_a_move_task_says_so(cloud: Cloud, shelf: DeadLetters) -> None:
    """Before anything was done: the job is dead still."""
    job = dead(cloud)
    with pytest.raises(CloudiaError, match="no move task"):
        shelf.redrive_natively(shelf.look().letters)
    assert cloud.jobs.get(job.job_id, "alice").status == "dead_lettered"


# --- the record of a job -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
def test_a_job_that_ended_otherwise_is_not_reopened(cloud: Cloud, status: Any) -> None:
    """I2: an answer stays the answer."""
    job = dead(cloud)
    cloud.jobs.reopen(job, letter="l1")
    lease = cloud.jobs.lease(job.job_id, "wrk_1", 30)
    assert isinstance(lease, Lease)
    cloud.jobs.finish(lease, status, content="42")
    assert isinstance(cloud.jobs.reopen(job, letter="l2"), Ended)
    assert cloud.jobs.get(job.job_id, "alice").status == status


def test_a_job_in_work_is_not_reopened(cloud: Cloud) -> None:
    """Whoever holds its lease goes on; where the lease ran out, because its worker died, it is reopened."""
    job = dead(cloud)
    assert cloud.jobs.reopen(job, letter="l1") == Reopened()
    assert cloud.jobs.reopen(job, letter="l1") == Reopened()  # Nobody received it since.
    lease = cloud.jobs.lease(job.job_id, "wrk_1", 30)
    assert isinstance(lease, Lease)
    assert isinstance(cloud.jobs.reopen(job, letter="l1"), Resent)
    assert isinstance(cloud.jobs.reopen(job, letter="l2"), Held)
    cloud.jobs.release(lease)
    assert cloud.jobs.reopen(job, letter="l2") == Reopened()
    assert cloud.jobs.reopen(replace(job, job_id="job_x"), letter="l1") == Unknown()


def test_a_request_sent_again_does_not_send_a_reopened_job(cloud: Cloud) -> None:
    """The idempotency key of a job that was redriven with another text enqueues nothing."""
    request: dict[str, Any] = {
        "user_id": "alice", "content": "typo", "conversation_id": None, "session_id": None, "idempotency_key": "k",
        "traceparent": telemetry.new_traceparent(),
    }  # fmt: skip
    job, unsent = cloud.intake.accept(**request)
    assert unsent
    lease = cloud.jobs.lease(job.job_id, "wrk_1", 30)
    assert isinstance(lease, Lease)
    cloud.jobs.finish(lease, "dead_lettered", content="", error=ERROR)
    cloud.jobs.reopen(replace(job, content="no typo"), letter="l1", edited=True)
    again, unsent = cloud.intake.accept(**request)
    assert (again.job_id, unsent) == (job.job_id, False)


# --- carrying away, throwing away --------------------------------------------------------------------------------------


def test_an_export_is_put_back_as_it_was(cloud: Cloud, shelf: DeadLetters) -> None:
    """Export, purge, import: the same letters, reason and all, and they can be redriven."""
    for number in range(12):
        dead(cloud, f"Grüße 👋 {number}")
    before = shelf.look().letters
    lines = [json.dumps(letter.export()) for letter in before]
    assert shelf.purge(before).deleted == 12
    assert shelf.look().letters == ()
    assert sum(shelf.put_back([decode_export(line) for line in lines])) == 12
    after = shelf.look().letters
    assert {(letter.id, letter.died_at, letter.error_message) for letter in after} == {
        (letter.id, letter.died_at, letter.error_message) for letter in before
    }
    assert outcomes(shelf, after) == ["redriven"] * 12


FOREIGN: dict[str, Any] = {
    "text": {"DataType": "String", "StringValue": "Grüße 👋"},
    "labelled.text": {"DataType": "String.json", "StringValue": "{}"},
    "number": {"DataType": "Number", "StringValue": "18446744073709551616.5"},
    "float": {"DataType": "Number.float", "StringValue": "-1e9"},
    "bytes": {"DataType": "Binary", "BinaryValue": bytes(range(256))},
    "picture": {"DataType": "Binary.png", "BinaryValue": b"\x89PNG"},
}


def test_a_foreign_letter_is_carried_whole(cloud: Cloud, shelf: DeadLetters, way: str) -> None:
    """Its body, its group and its attributes, with their types and bytes, are the same after export, purge and import."""
    sqs, url, body = cloud.aws.sqs, cloud.dead_letters.url, '{"order": 7, "note": "\u2028\ttab é"}'
    sqs.send_message(
        QueueUrl=url,
        MessageBody=body,
        MessageGroupId="orders",
        MessageDeduplicationId="1",
        MessageAttributes=FOREIGN,
    )
    (letter,) = shelf.look().letters
    line = json.dumps(letter.export())
    assert shelf.purge([letter]).deleted == 1
    assert sum(shelf.put_back([decode_export(line)])) == 1
    (message,) = sqs.receive_message(
        QueueUrl=url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["MessageGroupId"]
    )["Messages"]
    assert (message["Body"], message["Attributes"]) == (body, {"MessageGroupId": "orders"})
    assert message["MessageAttributes"] == FOREIGN


@pytest.mark.parametrize(
    "line",
    [
        "x", "[]", "{}", '{"v": 2}', '{"v": 1, "body": "", "group": "g", "attributes": {}}',
        '{"v": 1, "body": "b", "group": "", "attributes": {}}', '{"v": 1, "body": "b", "group": "g", "attributes": []}',
        '{"v": 1, "body": "b", "group": "g", "attributes": {"a": 1}}',
        '{"v": 1, "body": "b", "group": "g", "attributes": {"a": {"type": "Number"}}}',
        '{"v": 1, "body": "b", "group": "g", "attributes": {"a": {"type": "List", "value": "1"}}}',
        '{"v": 1, "body": "b", "group": "g", "attributes": {"a": {"type": "Binary", "base64": "?"}}}',
        '{"v": 1, "body": "b", "group": "g", "attributes": {"a": {"type": "Number", "value": "1", "more": 1}}}',
        '{"v": 1, "body": "b", "group": "g", "attributes": {"a b": "1"}}',
        '{"v": 1, "body": "\\u0000", "group": "g", "attributes": {}}',
        '{"v": 1, "body": "\\ud800", "group": "g", "attributes": {}}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_letter_is_refused(line: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequestError):
        decode_export(line)


def test_a_purge_records_what_had_no_end(cloud: Cloud, shelf: DeadLetters) -> None:
    """I1: a job that SQS moved away while it was queued is failed, friendly, when its letter is thrown away."""
    gone = cloud.accept("x")
    cloud.dead_letters.send_raw(gone.encode(), group=gone.conversation_id, deduplication_id="1")
    job = dead(cloud)
    purged = shelf.purge(shelf.look().letters)
    assert (purged.deleted, purged.failed, purged.left) == (2, [gone.job_id], 0)
    assert cloud.jobs.get(gone.job_id, "alice").status == "failed"
    assert cloud.jobs.get(job.job_id, "alice").status == "dead_lettered"
    (_, reply) = cloud.history.messages("alice", gone.conversation_id, limit=10).items
    assert (reply.status, (reply.error or {})["code"]) == ("failed", "purged")


def test_a_purged_queue_loses_no_job_silently(cloud: Cloud, shelf: DeadLetters) -> None:
    """What waits is recorded as failed and deleted; what a worker holds stays."""
    jobs = []
    for _ in range(12):
        job = cloud.accept("x")
        cloud.queue.send(job)
        jobs.append(job)
    (held,) = cloud.queue.receive(most=1, wait_seconds=0, visibility_seconds=30)
    purged = shelf.purge_queue()
    assert (purged.deleted, len(purged.failed), purged.left) == (11, 11, 1)
    assert cloud.queue.stats().total == 1
    records = {job.job_id: cloud.jobs.get(job.job_id, "alice") for job in jobs}
    assert {(record.attempts, record.attempt_history) for record in records.values()} == {(0, ())}
    statuses = {job_id: record.status for job_id, record in records.items()}
    assert statuses.pop(QueuedJob.decode(held.body).job_id) == "queued"
    assert set(statuses.values()) == {"failed"}


def test_large_messages_are_sent_in_requests_that_fit(cloud: Cloud) -> None:
    """Ten letters of 100 KB each do not fit into one request; all arrive, in their order."""
    sent = [Sending(str(number) * 100_000, "g", str(number)) for number in range(10)]
    assert cloud.queue.send_batch(sent) == []
    found = []
    while taken := cloud.queue.take(most=10, wait_seconds=0, visibility_seconds=30):
        cloud.queue.delete([message.receipt for message in taken])
        found += [message.body[0] for message in taken]
    assert "".join(found) == "0123456789"


def test_without_a_queue_it_is_said(stack: RunningStack) -> None:
    """What was not provisioned is told apart from what is empty."""
    cloud = make_cloud(stack)
    cloud.aws.sqs.delete_queue(QueueUrl=cloud.dead_letters.url)
    with pytest.raises(UnavailableError) as missing:
        DeadLetters(cloud.dead_letters, cloud.queue, cloud.jobs).look()
    assert missing.value.code == "not_provisioned"
