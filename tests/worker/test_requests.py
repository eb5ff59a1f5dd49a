"""What a message costs: the requests that a worker makes to AWS for it, by kind."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.functions.cancel_job import handler
from cloudia.functions.services import services as function_services
from cloudia.worker.services import make_services
from cloudia.worker.worker import Worker
from tests.gateway.lines import line
from tests.support import Cloud, RunningStack, eventually, make_cloud
from tests.worker.working import USER, accept, depth, ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudia.protocol import QueuedJob

_BESIDE = {"ReceiveMessage", "GetQueueUrl", "PutItem", "BatchGetItem"}
"""What goes by the time and not by the message: polls of the queue and for stops, and signs of life."""


@asynccontextmanager
async def counted(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, *, beside: set[str] = _BESIDE
) -> AsyncIterator[Counter[str]]:
    """Run a worker in this process. Yield its requests so far, without those that go by the time, `beside`."""
    monkeypatch.setattr("cloudia.telemetry.log", lambda *_, **__: None)
    services = await make_services(cloud.settings)
    requests: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        if model.name not in beside:
            requests[model.name] += 1

    for client in (services.jobs._db, services.history._db, services.queue.sqs):
        client.meta.events.register("before-call", count, unique_id="count")
    worker = Worker(services)
    running = asyncio.create_task(worker.run())
    try:
        yield requests
    finally:
        worker.stop()
        await running


async def finished(cloud: Cloud, *jobs: Any) -> None:
    """Wait until jobs have ended and their messages are deleted."""
    for job in jobs:
        await ended(cloud, job)
    await eventually(lambda: depth(cloud, cloud.stack.jobs_queue.name) == 0)


async def of_a_second_turn(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return the requests of the second turn of a conversation."""
    async with counted(cloud, monkeypatch) as requests:
        first = accept(cloud, "one [[words:5]]")
        await finished(cloud, first)
        requests.clear()
        second = accept(cloud, "two [[words:5]]", conversation=first.conversation_id)
        await finished(cloud, second)
        return requests.copy()


async def test_the_order_costs_nothing_where_the_context_is_cached(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn is one lease, one transaction, and its part of a deletion; that its turn has come costs no request."""
    assert await of_a_second_turn(cloud, monkeypatch) == {
        "UpdateItem": 1,
        "TransactWriteItems": 1,
        "DeleteMessageBatch": 1,
    }


async def test_the_order_costs_nothing_where_the_context_is_read(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the cache the messages before are one query, which says whether their turns have ended, too."""
    cloud = make_cloud(stack, redis_url="")
    assert await of_a_second_turn(cloud, monkeypatch) == {
        "Query": 1,
        "UpdateItem": 1,
        "TransactWriteItems": 1,
        "DeleteMessageBatch": 1,
    }


# --- stops ---------------------------------------------------------------------------------------------------------------


async def cancel(cloud: Cloud, job: QueuedJob, monkeypatch: pytest.MonkeyPatch, *, redis_url: str) -> None:
    """Stop a job, once it has text, as the function does that has this Redis."""
    await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
    for name, value in {**cloud.environment(), "CLOUDIA_REDIS_URL": redis_url}.items():
        monkeypatch.setenv(name, value)
    event = {"headers": {"authorization": f"Bearer {cloud.token(USER)}"}, "pathParameters": {"id": job.job_id}}
    function_services.cache_clear()
    try:
        answer = await asyncio.to_thread(handler, event, None)
    finally:
        function_services.cache_clear()
    assert answer["statusCode"] == 202


async def test_a_stop_through_redis_is_one_request(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop is seen before the answer is whole, let alone the poll, at the cost of a look at that one record."""
    cloud = make_cloud(stack, worker_cancel_poll_seconds=60)
    async with counted(cloud, monkeypatch, beside=_BESIDE - {"BatchGetItem"}) as requests:
        job = accept(cloud, "a long one [[words:500]]")
        await cancel(cloud, job, monkeypatch, redis_url=cloud.settings.redis_url)
        await finished(cloud, job)
        assert cloud.jobs.get(job.job_id, USER).status == "cancelled"
        assert requests["BatchGetItem"] == 1


@pytest.mark.parametrize("away", ["the function's", "the worker's"])
async def test_a_stop_without_redis_is_seen_by_the_poll(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    """I8: where Redis is away from who stops a job, or from who works on it, the next poll sees the stop."""
    async with line(stack.settings.redis_url) as lost:
        lost.refusing = True
        worker, function = stack.settings.redis_url, lost.url
        if away == "the worker's":
            worker, function = function, worker
        cloud = make_cloud(stack, worker_cancel_poll_seconds=0.2, redis_url=worker)
        async with counted(cloud, monkeypatch):
            job = accept(cloud, "a long one [[words:3000]]")
            await cancel(cloud, job, monkeypatch, redis_url=function)
            await finished(cloud, job)
            assert cloud.jobs.get(job.job_id, USER).status == "cancelled"
