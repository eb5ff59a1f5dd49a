"""Budgets: what is held and given back is counted once, whoever writes at the same moment; the sum never passes the limit."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cloud.budgets import Budgets, Hold
from cloudia.cloud.items import from_item
from cloudia.cloud.job_records import Lease
from cloudia.cloud.reserve import budgets_of
from cloudia.errors import NotFoundError, PaymentRequiredError, UnavailableError, UsageError
from cloudia.protocol import AttemptRecord, Job
from tests.support import make_cloud

if TYPE_CHECKING:
    from cloudia.protocol import QueuedJob
    from tests.support import Cloud, RunningStack

PRICES = '{"sim-1": {"input": 1, "output": 1000}}'
LIMITED = {"llm_prices": PRICES, "llm_max_tokens": 100, "llm_system_prompt": ""}
"""A message may cost a little more than 0.1 dollars."""


def committed(cloud: Cloud) -> dict[str, int]:
    """Return what is committed of each budget, by the beginning of its key."""
    items = cloud.aws.dynamodb.scan(TableName=cloud.stack.idempotency.name)["Items"]
    told = [from_item(item) for item in items]
    return {entry["key"].rsplit("-", 3)[0]: entry["committed"] for entry in told if "committed" in entry}


def leased(cloud: Cloud, job: QueuedJob, owner: str = "wrk") -> Lease:
    lease = cloud.jobs.lease(job.job_id, owner, 0.0)
    assert isinstance(lease, Lease)
    return lease


def held(lease: Lease) -> Hold:
    hold = Hold.of(lease.job)
    assert hold is not None
    return hold


def test_what_nobody_ended_may_have_spent_it_all() -> None:
    """The next attempt begins with nothing left; one that was ended has told what it spent."""
    hold = {"keys": ["k"], "held": 10, "spent": 3}
    job = Job("job", "cnv", "msg", "alice", "running", "now", hold=hold)
    own, ended = AttemptRecord(2, 2, "wrk", 2.0), AttemptRecord(1, 1, "wrk", 1.0, outcome="retried")
    lost = AttemptRecord(1, 1, "wrk", 1.0)
    assert Hold.of(replace(job, attempt_history=(own,))) == Hold(("k",), 10, 3)
    assert Hold.of(replace(job, attempt_history=(ended, own))) == Hold(("k",), 10, 3)
    assert Hold.of(replace(job, attempt_history=(lost, own))) == Hold(("k",), 10, 10)
    assert Hold.of(replace(job, hold=None)) is None


def test_days_and_users_have_items_of_their_own() -> None:
    """By the day in UTC; a key names nobody, and only what is limited has one."""
    budgets = Budgets(user=1, stack=2)
    keys = budgets.keys("alice", now=1_800_000_000.0)
    assert [budgets.limit(key) for key in keys] == [1, 2]
    assert all("alice" not in key for key in keys)
    assert not set(keys) & set(budgets.keys("alice", now=1_800_000_000.0 + 86_400))
    assert budgets.keys("bob", now=1_800_000_000.0)[1:] == keys[1:]
    assert Budgets(stack=2).keys("alice", now=1.0) == ("budget-stack-1970-01-01",)


async def test_no_more_is_accepted_at_once_than_the_budget_reaches_for(stack: RunningStack) -> None:
    """Twenty at the same moment where the stack's budget reaches for five, of four users: five jobs, and no more is held."""
    cloud = make_cloud(stack, **LIMITED, limits_stack_dollars_per_day=0.55, limits_user_dollars_per_day=0.25)

    def accept(number: int) -> QueuedJob | None:
        while True:
            try:
                return cloud.accept(f"message {number}", user=f"user{number % 4}")
            except PaymentRequiredError:
                return None
            except UnavailableError:  # They met each other too often.
                continue

    found = await asyncio.gather(*(asyncio.to_thread(accept, number) for number in range(20)))
    jobs = [job for job in found if job]
    sums = committed(cloud)
    assert len(jobs) == 5
    assert sums.pop("budget-stack") == sum(sums.values()) <= 550_000_000
    assert max(sums.values()) <= 250_000_000
    assert len(cloud.aws.dynamodb.scan(TableName=cloud.stack.jobs.name)["Items"]) == 5


def test_what_ends_gives_back_what_it_did_not_spend(stack: RunningStack) -> None:
    """Answered, failed, cancelled, abandoned, with its conversation deleted: what is left is what was spent, and no hold."""
    cloud = make_cloud(stack, **LIMITED, limits_user_dollars_per_day=10)
    spent = 0
    for number, status in enumerate(("done", "failed", "cancelled", "dead_lettered")):
        lease = leased(cloud, cloud.accept())
        cloud.jobs.finish(lease, status, content="", hold=held(lease).spending(number * 7))  # type: ignore[arg-type]
        spent += number * 7
    cloud.jobs.abandon(cloud.accept().job_id, owner="op")
    deleted = cloud.accept()
    lease = leased(cloud, deleted)
    cloud.history.delete("alice", deleted.conversation_id)
    cloud.jobs.finish(lease, "done", content="x", hold=held(lease).spending(5))
    (now,) = committed(cloud).values()
    assert now == spent + 5
    records = [from_item(item) for item in cloud.aws.dynamodb.scan(TableName=cloud.stack.jobs.name)["Items"]]
    assert [record for record in records if "hold" in record] == []
    assert sum(record["charged"] for record in records) == now


def test_a_retry_keeps_its_hold_and_asks_for_what_is_lacking(stack: RunningStack) -> None:
    """What the first attempt spent counts; more is given while the budget reaches, and none to one that lost its lease."""
    cloud = make_cloud(stack, **LIMITED, limits_user_dollars_per_day=0.15)
    budgets = budgets_of(cloud.settings)
    job = cloud.accept()
    first = leased(cloud, job)
    begun = held(first)
    cloud.jobs.release(first, error={"code": "llm_failed"}, hold=begun.spending(1000))
    second = leased(cloud, job)
    assert held(second) == begun.spending(1000)
    more = cloud.jobs.extend(second, held(second), 1000, budgets)
    assert committed(cloud) == dict.fromkeys(committed(cloud), begun.held + 1000)
    with pytest.raises(PaymentRequiredError, match="your budget for today"):
        cloud.jobs.extend(second, more, 50_000_000, budgets)
    third = leased(cloud, job)  # The worker of the second died: it may have spent all of it.
    assert held(third) == Hold(more.keys, more.held, more.held)
    with pytest.raises(Exception, match=job.job_id):
        cloud.jobs.extend(second, more, 1, budgets)
    cloud.jobs.finish(third, "failed", content="")
    assert set(committed(cloud).values()) == {more.held}


def test_an_extension_whose_answer_was_lost_is_given_back(stack: RunningStack) -> None:
    """The record knows of it, so the end does too; also of a job that held nothing when it was accepted."""
    budgets = Budgets(user=10_000_000_000)
    for limit in (10, 0):
        cloud = make_cloud(stack, **LIMITED, limits_user_dollars_per_day=limit)
        lease = leased(cloud, cloud.accept())
        hold = Hold.of(lease.job) or Hold(budgets.keys("alice", now=time.time()), 0)
        assert bool(hold.held) == bool(limit)
        cloud.jobs.extend(lease, hold, 999, budgets)
        cloud.jobs.finish(lease, "done", content="x", hold=hold.spending(5))
        assert set(committed(cloud).values()) == {5}


def test_the_same_key_is_held_for_once(stack: RunningStack) -> None:
    """A message that is sent again costs nothing more, and is let in where the budget is used up by itself."""
    cloud = make_cloud(stack, **LIMITED, limits_user_dollars_per_day=0.15)
    given: dict[str, Any] = {"user_id": "alice", "content": "hi", "conversation_id": None, "session_id": None}
    jobs = {cloud.intake.accept(**given, idempotency_key="k", traceparent="")[0].job_id for _ in range(3)}
    assert len(jobs) == 1
    with pytest.raises(PaymentRequiredError) as refused:
        cloud.accept("another")
    assert 0 < refused.value.retry_after <= 86_400
    with pytest.raises(NotFoundError):
        cloud.accept("x", conversation_id="cnv_01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_a_conversation_is_held_for_as_long_as_the_llm_sees_it(stack: RunningStack) -> None:
    """Each turn before makes the next dearer, up to as many as the LLM sees."""
    dear = '{"sim-1": {"input": 1000, "output": 0}}'
    cloud = make_cloud(
        stack, **{**LIMITED, "llm_prices": dear}, limits_user_dollars_per_day=1000, limits_context_messages=4
    )
    conversation, holds = None, []
    for _ in range(6):
        job = cloud.accept("x" * 50, conversation_id=conversation)
        conversation = job.conversation_id
        lease = leased(cloud, job)
        holds.append(held(lease).held)
        cloud.jobs.finish(lease, "done", content="x")
    assert holds[0] < holds[1] < holds[2] == holds[3] == holds[5]


def test_nothing_can_be_held_to_a_budget_without_a_price(stack: RunningStack) -> None:
    """Who runs the stack is told which price is lacking, and what to do; nothing is accepted."""
    cloud = make_cloud(stack, limits_user_dollars_per_day=1)
    with pytest.raises(UsageError, match="openai sim-1 is not known") as refused:
        cloud.accept()
    assert refused.value.code == "no_price"
    assert "llm.prices" in refused.value.hint
