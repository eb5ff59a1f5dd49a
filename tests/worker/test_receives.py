"""Receives: SQS counts them, and makes a dead letter of a message that has too many; only a job's own attempts may do that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloudia.errors import UnavailableError
from cloudia.settings import SETTINGS
from cloudia.stack import Stack
from cloudia.worker.services import make_services
from cloudia.worker.worker import Worker
from tests.support import Cloud, RunningStack, eventually, make_cloud
from tests.worker.working import accept, depth, ended, fault, wear, worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

MOST = Stack().jobs_queue.max_receive_count


def test_own_attempts_fit_behind_a_message_that_is_worn() -> None:
    """A message that was received as often as it may be behind others has room for all attempts of its own."""
    queue = Stack().jobs_queue
    assert queue.worn_receive_count + (SETTINGS["worker_max_attempts"].high or 0) < queue.max_receive_count


async def test_i1_turns_behind_a_failing_one_do_not_pay_for_it(stack: RunningStack, tmp_path: Path) -> None:
    """I1: two turns fail until they are dead letters; each has all of its attempts, and those behind them are answered."""
    cloud = make_cloud(stack, llm_model="sim-behind", worker_max_attempts=2, llm_quick_retry_seconds=0)
    fault(stack, kind="status", status=503, count=4, model="sim-behind")
    first = accept(cloud, "turn 1 [[words:5]]")
    jobs = [first, *(accept(cloud, "another [[words:5]]", conversation=first.conversation_id) for _ in range(4))]
    wear(cloud, MOST - 2)
    async with worker(cloud, tmp_path):
        records = [await ended(cloud, job) for job in jobs]
    assert [(record.status, record.attempts) for record in records] == [("dead_lettered", 2)] * 2 + [("done", 1)] * 3
    assert depth(cloud, cloud.stack.dead_letters.name) == 2


async def test_i1_a_message_that_has_an_earlier_turn_answered_does_not_pay_for_it(
    stack: RunningStack, tmp_path: Path
) -> None:
    """I1: the first turn was never sent, and fails once; the second one's message may be received once more, and comes back."""
    cloud = make_cloud(stack, llm_model="sim-ahead", llm_quick_retry_seconds=0)
    fault(stack, kind="status", status=503, count=1, model="sim-ahead")
    first = cloud.accept("turn 1 [[words:5]]")
    second = accept(cloud, "turn 2 [[words:5]]", conversation=first.conversation_id)
    wear(cloud, MOST - 1)
    async with worker(cloud, tmp_path):
        records = [await ended(cloud, job) for job in (first, second)]
    assert [(record.status, record.attempts) for record in records] == [("done", 2), ("done", 1)]


def _away_once(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return what fails the first time as where DynamoDB is away, then works."""
    failures = iter(range(1))

    def away(*given: Any) -> Any:
        if next(failures, None) is not None:
            raise UnavailableError("DynamoDB is away", code="aws_unavailable")
        return work(*given)

    return away


async def test_i1_a_message_that_comes_while_others_are_handed_back_is_worked_on(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I1: sent anew, it may be received before the old one's deletion is known; it does not lie hidden for its visibility."""
    cloud = make_cloud(stack, worker_visibility_seconds=3600)
    job = accept(cloud, "at once [[words:5]]")
    wear(cloud, MOST - 1)
    services = await make_services(cloud.settings)
    delete = services.receipts.delete

    async def slowly(receipt: str) -> None:
        await delete(receipt)
        lane = busy._lanes[job.conversation_id]
        if not anew:
            anew.append(await eventually(lambda: [each for each in lane if each.receipt != receipt]))

    monkeypatch.setattr(services.jobs, "lease", _away_once(services.jobs.lease))
    monkeypatch.setattr(services.receipts, "delete", slowly)
    anew: list[Any] = []
    busy = Worker(services)
    running = asyncio.create_task(busy.run())
    try:
        assert (await ended(cloud, job)).attempts == 1
    finally:
        busy.stop()
        await running


async def test_i1_a_job_that_could_not_be_begun_pays_nothing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """I1: DynamoDB is away at each receive that is left; the job is answered when it is back, and no dead letter."""
    job = accept(cloud, "when you are back [[words:5]]")
    wear(cloud, MOST - 1)
    monkeypatch.setattr("cloudia.telemetry.log", lambda *_, **__: None)
    services = await make_services(cloud.settings)
    monkeypatch.setattr(services.jobs, "lease", _away_once(services.jobs.lease))
    busy = Worker(services)
    running = asyncio.create_task(busy.run())
    try:
        assert (await ended(cloud, job)).attempts == 1
    finally:
        busy.stop()
        await running
    assert depth(cloud, cloud.stack.dead_letters.name) == 0
