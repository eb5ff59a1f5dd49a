"""A storm over budgets: workers that are killed, answers that break off, and messages at once. No sum passes its limit."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from cloudia.cloud.cloud import Cloud as Services
from cloudia.cloud.items import from_item
from cloudia.errors import PaymentRequiredError, UnavailableError
from tests.cli.provider import ask_provider
from tests.support import Cloud, RunningStack, child, eventually, make_cloud
from tests.worker.working import fault

if TYPE_CHECKING:
    from pathlib import Path

    from cloudia.protocol import QueuedJob

MODEL = "budget-storm"
LIMITS = {"budget-stack": 3_000_000_000, "budget-user": 1_000_000_000}
TOKEN = 1_000_000
"""Billionths of a dollar."""


def budgets(cloud: Services) -> dict[str, int]:
    """Return what is committed of each budget."""
    items = cloud.aws.dynamodb.scan(TableName=cloud.stack.idempotency.name)["Items"]
    return {entry["key"]: entry["committed"] for entry in map(from_item, items) if "committed" in entry}


def over(found: dict[str, int]) -> int:
    """Return how many budgets are passed."""
    return sum(most > LIMITS[key[: key.index("-", 7)]] for key, most in found.items())


def send(cloud: Services, number: int) -> QueuedJob | None:
    """Send a message as the function does, until it is accepted or refused."""
    dice = random.Random(number)
    while True:
        try:
            job, _ = cloud.intake.accept(
                user_id=f"user{number % 4}",
                content=f"message {number} [[words:{dice.randint(5, 60)}]]",
                conversation_id=None,
                session_id=None,
                idempotency_key=None,
                traceparent="",
            )
        except PaymentRequiredError:
            return None
        except UnavailableError:
            continue
        cloud.queue.send(job)
        return job


def answered(cloud: Services) -> int:
    """Return how many jobs were answered."""
    return len(cloud.jobs.in_state("done", most=1000))


def is_quiet(cloud: Services) -> bool:
    """Tell whether no job is open."""
    return not cloud.jobs.in_state("open", most=1)


async def more_answered(cloud: Services) -> None:
    """Wait until another job was answered, or none is open."""
    before = answered(cloud)
    await eventually(lambda: answered(cloud) > before or is_quiet(cloud), every=0.1)


async def suffer(cloud: Cloud, tmp_path: Path, over_and_done: asyncio.Event, *, kills: int) -> None:
    """Run two workers; kill one after the other while they answer, and let the last ones be."""
    looker = Services(cloud.settings)
    for number in range(kills):
        async with (
            child("cloudia.worker", cloud.environment(), tmp_path / f"a{number}.log") as first,
            child("cloudia.worker", cloud.environment(), tmp_path / f"b{number}.log"),
        ):
            await more_answered(looker)
            first.kill()
            await first.wait()
    async with child("cloudia.worker", cloud.environment(), tmp_path / "last.log"):
        await over_and_done.wait()


def settled(left: dict[str, int], records: list[dict[str, Any]]) -> int:
    """Check that what is committed is what jobs were charged, by user and together. Return the whole."""
    charged = Counter[str]()
    for record in records:
        charged[record["user_id"]] += record["charged"]
    stack_sum = sum(value for key, value in left.items() if key.startswith("budget-stack"))
    assert stack_sum == sum(charged.values())
    assert sorted(value for key, value in left.items() if key.startswith("budget-user")) == sorted(charged.values())
    return stack_sum


async def test_no_budget_is_passed_and_no_hold_is_left(stack: RunningStack, tmp_path: Path) -> None:
    """Over budget: 0 at every moment; in the end each job has ended, and what is committed is what they were charged.

    The provider's own count of tokens is no more than that.
    """
    cloud = make_cloud(
        stack,
        llm_model=MODEL,
        llm_prices=f'{{"{MODEL}": {{"input": 0, "output": {TOKEN // 1000}}}}}',
        llm_max_tokens=100,
        llm_breaker_errors=1000,
        worker_visibility_seconds=3,
        worker_lease_seconds=3,
        limits_stack_dollars_per_day=LIMITS["budget-stack"] / 1e9,
        limits_user_dollars_per_day=LIMITS["budget-user"] / 1e9,
    )
    fault(stack, kind="cut", rate=0.2, after_tokens=5, model=MODEL)
    fault(stack, kind="status", status=503, rate=0.1, model=MODEL)
    watching, passed, looks = threading.Event(), list[dict[str, int]](), Counter[str]()
    looker = Services(cloud.settings)

    def watch() -> None:
        while not watching.wait(0.02):
            found = budgets(looker)
            looks["all"] += 1
            if over(found):
                passed.append(found)

    def talk(number: int) -> list[QueuedJob | None]:
        services = Services(cloud.settings)
        return [send(services, number * 20 + each) for each in range(20)]

    done = asyncio.Event()
    watcher = asyncio.create_task(asyncio.to_thread(watch))
    suffering = asyncio.create_task(suffer(cloud, tmp_path, done, kills=3))
    try:
        talks = [asyncio.create_task(asyncio.to_thread(talk, number)) for number in range(6)]
        sent = [job for each in talks for job in await each]
        late: list[Any] = []
        for number in range(6):  # What was given back is given out again.
            await more_answered(looker)
            late += await asyncio.gather(
                *(asyncio.to_thread(send, looker, 1000 + number * 4 + each) for each in range(4))
            )
        jobs = [job for job in (*sent, *late) if job]

        def ended() -> bool:
            records = looker.jobs.records([job.job_id for job in jobs])
            return all(record.ended for record in records.values())

        await eventually(ended, every=0.2)
    finally:
        watching.set()
        done.set()
        await watcher
        await suffering
    items = cloud.aws.dynamodb.scan(TableName=cloud.stack.jobs.name)["Items"]
    records = [from_item(item) for item in items]
    assert looks["all"] > 20
    assert passed == []
    assert {record["job_id"] for record in records} == {job.job_id for job in jobs}
    killed = [record for record in records if any("outcome" not in attempt for attempt in record["attempt_history"])]
    assert all(
        record["charged"] >= 100 * TOKEN for record in killed
    )  # Nobody knows what they spent: all that they might.
    assert len(jobs) < len(sent) + len(late)  # Some were refused: the limits were met.
    assert [record["job_id"] for record in records if "hold" in record] == []
    stack_sum = settled(budgets(looker), records)
    told = ask_provider(stack.run, "GET", "requests")
    known = {job.job_id for job in jobs}
    used = sum(one["completion_tokens"] for one in told["records"] if one["job_id"] in known)
    assert 0 < used * TOKEN <= stack_sum
