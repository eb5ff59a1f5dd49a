"""The reconciler: no job is open for ever, whoever died, and whatever else happens to it at the same moment."""

from __future__ import annotations

import json
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudia.cloud import intake as intake_module
from cloudia.cloud import jobs as jobs_module
from cloudia.cloud import orphans as orphans_module
from cloudia.cloud.events import START, EventLog
from cloudia.cloud.job_records import Lease
from cloudia.cloud.redis import connect
from cloudia.deploy.provision import provision
from cloudia.operate import reconciler as reconciler_module
from cloudia.operate.dead_letters import DeadLetters, Edit
from cloudia.operate.reconciler import NOT_ANSWERED, Reconciler
from cloudia.protocol import QueuedJob
from tests.cloud.clocks import Clock
from tests.forks import fork
from tests.patience import HANGS
from tests.support import Cloud, RunningStack, cli, elsewhere, eventually, make_cloud
from tests.worker.working import USER, log_lines, wear, worker

AFTER = 300.0
TWICE = 2 * AFTER + 1
_ROOT = Path(__file__).parents[2]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of those who write and of those who look: it moves when the test says so."""
    clock = Clock(4_000_000_000.25)
    for module in (intake_module, jobs_module, orphans_module, reconciler_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def clockwork(cloud: Cloud, clock: Clock) -> Cloud:
    """A cloud by the test's clock."""
    return cloud


def reconciler(cloud: Cloud) -> Reconciler:
    return Reconciler(cloud.orphans, cloud.jobs, cloud.history, cloud.queue, after_seconds=AFTER)


def reconciled(cloud: Cloud) -> list[tuple[str, str]]:
    """Reconcile. Return the jobs, each with what was done."""
    return [(done.job_id, done.outcome) for done in reconciler(cloud).run()]


def queued(cloud: Cloud) -> list[QueuedJob]:
    """Take all jobs out of the queue."""
    found = []
    while received := cloud.queue.receive(most=10, wait_seconds=0, visibility_seconds=30):
        cloud.queue.delete([message.receipt for message in received])
        found += [QueuedJob.decode(message.body) for message in received]
    return found


def leased(cloud: Cloud, job: QueuedJob) -> Lease:
    lease = cloud.jobs.lease(job.job_id, "wrk_1", 30)
    assert isinstance(lease, Lease)
    return lease


# --- what is left behind -----------------------------------------------------------------------------------------------


def test_i1_what_was_accepted_and_never_sent_is_sent(clockwork: Cloud, clock: Clock) -> None:
    """I1: not before its time; then once, with all that the worker needs, as it was accepted."""
    job = clockwork.accept("hello", session_id="ses_1")
    clock.now += AFTER - 1
    assert reconciled(clockwork) == []
    clock.now += 2
    assert reconciled(clockwork) == [(job.job_id, "sent")]
    assert reconciled(clockwork) == []
    assert queued(clockwork) == [job]


async def test_i1_functions_that_are_killed_between_their_writes_leave_no_job(
    stack: RunningStack, tmp_path: Path
) -> None:
    """I1: four functions die by SIGKILL after their transaction; the workers find and answer each job, 0 are left."""
    cloud = make_cloud(stack, reconcile_after_seconds=1)
    for number in range(4):
        event = {
            "headers": {"authorization": f"Bearer {cloud.token(USER)}"},
            "body": json.dumps({"content": f"{number} [[words:5]]"}),
        }
        dying = fork("tests.functions.dying", json.dumps(event), environment=cloud.environment(), folder=_ROOT)
        assert dying.join(HANGS) == -signal.SIGKILL
    jobs = [job_id for job_id, _ in cloud.jobs.in_state("open", most=10)]
    assert len(jobs) == 4
    assert cloud.queue.stats().total == 0
    async with worker(cloud, tmp_path), worker(cloud, tmp_path):
        await eventually(lambda: cloud.jobs.in_state("open", most=1) == [])
    records = cloud.jobs.records(jobs).values()
    assert [(record.status, record.attempts) for record in records] == [("done", 1)] * 4
    assert {line["job_id"] for line in log_lines(tmp_path, "job was left behind")} == set(jobs)


def test_i1_what_a_worker_has_is_left_alone_and_what_it_left_is_not(clockwork: Cloud, clock: Clock) -> None:
    """I1: a lease protects a job, however old; a back-off is not quiet; a worker that died is."""
    working, resting, dead = (clockwork.accept() for _ in range(3))
    leased(clockwork, dead)
    clock.now += TWICE
    leased(clockwork, working)
    clockwork.jobs.release(leased(clockwork, resting), error={"code": "llm_failed"}, delay=2)
    assert reconciled(clockwork) == [(dead.job_id, "sent")]


def test_i1_what_sqs_moved_is_sent_again(stack: RunningStack, clock: Clock) -> None:
    """I1: a message that was received too often is a dead letter of SQS' own making; its job is sent again, and ends."""
    cloud = make_cloud(stack)
    cloud.stack.jobs_queue = replace(cloud.stack.jobs_queue, max_receive_count=2)
    list(provision(cloud.aws, cloud.stack, {}))
    job = cloud.accept()
    cloud.queue.send(job)
    wear(cloud, 4)
    assert cloud.dead_letters.stats().total == 1
    clock.now += TWICE
    assert reconciled(cloud) == [(job.job_id, "sent")]
    cloud.jobs.finish(leased(cloud, job), "done", content="at last")
    shelf = DeadLetters(cloud.dead_letters, cloud.queue, cloud.jobs)
    assert [one.outcome for one in shelf.redrive(shelf.look().letters)] == ["already_ended"]


def test_each_time_waits_twice_as_long_and_the_last_one_ends_it(clockwork: Cloud, clock: Clock) -> None:
    """I7: a queue that is full, or a job that its workers do not survive, is not sent again for ever: it ends as failed."""
    job = clockwork.accept()
    for number, outcome in enumerate([*["sent"] * 10, "ended"]):
        clock.now += AFTER * 2**number - 1
        assert reconciled(clockwork) == []
        clock.now += 2
        assert reconciled(clockwork) == [(job.job_id, outcome)]
    record = clockwork.jobs.get(job.job_id, "alice")
    assert (record.status, record.error) == ("failed", NOT_ANSWERED)
    assert queued(clockwork)[-1] == job  # So that a worker tells whoever waits.
    clock.now += 10_000 * AFTER
    assert reconciled(clockwork) == []


async def test_who_waits_for_a_job_that_is_ended_is_told(cloud: Cloud, clock: Clock, tmp_path: Path) -> None:
    """A worker that receives the message of a job that was ended for good sends its session the error."""
    job = cloud.accept(session_id="ses_1")
    cloud.aws.dynamodb.update_item(
        TableName=cloud.stack.jobs.name,
        Key={"job_id": {"S": job.job_id}},
        UpdateExpression="SET resends = :many",
        ExpressionAttributeValues={":many": {"N": "10"}},
    )
    clock.now += AFTER * 1025
    assert reconciled(cloud) == [(job.job_id, "ended")]
    redis = connect(cloud.settings.redis_url)
    log = EventLog(redis, cloud.stack.name, ttl_seconds=60, max_length=100)
    async with worker(cloud, tmp_path):

        async def told() -> list[Any]:
            return [json.loads(entry.payload) for entry in await log.after("ses_1", START)]

        *_, last = await eventually(told)
    await redis.aclose()
    assert (last["type"], last["status"], last["error"]["code"]) == ("error", "failed", "not_answered")


# --- several, and kills -------------------------------------------------------------------------------------------------


def test_of_several_reconcilers_one_sends_each_job(clockwork: Cloud, clock: Clock) -> None:
    """Four at the same time, more jobs than a page of the index: each job is sent once."""
    jobs = {clockwork.accept().job_id for _ in range(120)}
    clock.now += TWICE
    with ThreadPoolExecutor(4) as threads:
        done = [one for found in threads.map(lambda _: reconciled(clockwork), range(4)) for one in found]
    assert Counter(done) == dict.fromkeys([(job_id, "sent") for job_id in jobs], 1)
    assert Counter(job.job_id for job in queued(clockwork)) == dict.fromkeys(jobs, 1)


def test_one_that_is_killed_before_it_sends_leaves_it_to_the_next(
    clockwork: Cloud, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I1: the claim is not the end of it."""

    class Killed(BaseException):
        """Stands for a kill."""

    def die(*_: Any) -> Any:
        raise Killed

    job = clockwork.accept()
    clock.now += AFTER + 1
    with monkeypatch.context() as patch:
        patch.setattr(clockwork.queue, "send_batch", die)
        with pytest.raises(Killed):
            reconciled(clockwork)
    clock.now += AFTER * 2 + 1
    assert reconciled(clockwork) == [(job.job_id, "sent")]
    assert queued(clockwork) == [job]


def test_it_asks_an_index_and_never_scans(clockwork: Cloud, clock: Clock) -> None:
    """Where nothing is left behind it is one query, however many jobs have ended."""
    for _ in range(3):
        clockwork.jobs.finish(leased(clockwork, clockwork.accept()), "done", content="x")
    clock.now += TWICE
    asked: list[str] = []
    clockwork.aws.dynamodb.meta.events.register("before-call", lambda model, **_: asked.append(model.name))
    assert reconciled(clockwork) == []
    assert asked == ["Query"]


# --- what else happens to a job at that moment ---------------------------------------------------------------------------


def test_the_job_of_a_conversation_that_was_deleted_ends_as_cancelled(clockwork: Cloud, clock: Clock) -> None:
    """As it would have by a worker; nothing is answered into a conversation that is gone."""
    job = clockwork.accept()
    clock.now += TWICE
    clockwork.history.delete("alice", job.conversation_id)
    assert reconciled(clockwork) == [(job.job_id, "ended")]
    assert clockwork.jobs.get(job.job_id, "alice").status == "cancelled"
    assert clockwork.history.message(job.conversation_id, job.message_id) is None


def during(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, happens: Any) -> list[tuple[str, str]]:
    """Reconcile, while something happens between the moment when a job is read and when it is claimed."""
    claim = cloud.orphans.claim

    def late(orphan: Any) -> bool:
        happens()
        return claim(orphan)

    with monkeypatch.context() as patch:
        patch.setattr(cloud.orphans, "claim", late)
        return reconciled(cloud)


def test_a_purge_at_the_same_moment(clockwork: Cloud, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator threw away stays that: recorded as `purged`, and not sent again."""
    job = clockwork.accept()
    clock.now += TWICE
    clockwork.queue.send(job)
    shelf = DeadLetters(clockwork.dead_letters, clockwork.queue, clockwork.jobs)
    monkeypatch.setattr("cloudia.operate.dead_letters.time", clock)
    assert during(clockwork, monkeypatch, shelf.purge_queue) == []
    assert (clockwork.jobs.get(job.job_id, "alice").error or {})["code"] == "purged"
    assert queued(clockwork) == []


def test_a_worker_that_takes_it_at_the_same_moment(
    clockwork: Cloud, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message was only late: the job is in work, and not sent again."""
    job = clockwork.accept()
    clock.now += TWICE
    assert during(clockwork, monkeypatch, lambda: leased(clockwork, job)) == []


def test_a_redrive_at_the_same_moment(clockwork: Cloud, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter of SQS' own making is redriven: the job is sent once, by the redrive, and has its time before it is again."""
    job = clockwork.accept()
    clockwork.dead_letters.send_raw(job.encode(), group=job.conversation_id, deduplication_id="moved")
    clock.now += TWICE
    shelf = DeadLetters(clockwork.dead_letters, clockwork.queue, clockwork.jobs)
    letters = shelf.look().letters
    outcomes: list[str] = []

    def redrive() -> None:
        outcomes.extend(one.outcome for one in shelf.redrive(letters))

    assert during(clockwork, monkeypatch, redrive) == []
    assert outcomes == ["redriven"]
    assert [each.job_id for each in queued(clockwork)] == [job.job_id]
    clock.now += TWICE
    assert reconciled(clockwork) == [(job.job_id, "sent")]


def test_what_an_operator_changed_is_sent_again_as_it_was_changed(clockwork: Cloud, clock: Clock) -> None:
    """A letter is redriven with another text and for another model, and its message is lost: so it is sent again."""
    job = clockwork.accept()
    clockwork.dead_letters.send_raw(job.encode(), group=job.conversation_id, deduplication_id="moved")
    shelf = DeadLetters(clockwork.dead_letters, clockwork.queue, clockwork.jobs)
    (letter,) = shelf.look().letters
    edits = {letter.message.message_id: Edit("another text", "another-model")}
    assert [one.outcome for one in shelf.redrive([letter], edits=edits)] == ["redriven"]
    changed = queued(clockwork)
    assert [(each.content, each.model) for each in changed] == [("another text", "another-model")]
    clock.now += TWICE
    assert reconciled(clockwork) == [(job.job_id, "sent")]
    assert queued(clockwork) == changed


# --- the command -----------------------------------------------------------------------------------------------------------


async def test_the_command_sends_what_is_left(stack: RunningStack, tmp_path: Path) -> None:
    """`cloudia reconcile --json` says what it did with each job; for a reader it counts them."""
    cloud = make_cloud(stack)
    job = cloud.accept()
    variables = {
        **elsewhere(cloud.settings),
        "CLOUDIA_STACK_NAME": cloud.stack.name,
        "CLOUDIA_RECONCILE_AFTER_SECONDS": "1",
    }

    def found() -> Any:
        done = cli("reconcile", "--json", folder=tmp_path, environment=variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["jobs"]

    (told,) = await eventually(found)
    assert (told["job_id"], told["outcome"], told["resends"]) == (job.job_id, "sent", 1)
    assert queued(cloud) == [job]
    later = {**variables, "CLOUDIA_RECONCILE_AFTER_SECONDS": "3600"}  # However slow this machine is.
    said = cli("reconcile", folder=tmp_path, environment=later)
    assert (said.returncode, said.stdout) == (0, "")
    assert "jobs sent again: 0; ended: 0" in said.stderr
