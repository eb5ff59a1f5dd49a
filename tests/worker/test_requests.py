"""What a message costs: the requests that a worker makes to AWS for it, by kind."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.worker.services import make_services
from cloudia.worker.worker import Worker
from tests.support import Cloud, RunningStack, eventually, make_cloud
from tests.worker.working import accept, depth, ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BESIDE = {"ReceiveMessage", "GetQueueUrl", "PutItem", "BatchGetItem"}
"""What goes by the time and not by the message: polls of the queue and for stops, and signs of life."""


@asynccontextmanager
async def counted(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counter[str]]:
    """Run a worker in this process. Yield its requests so far, without those that go by the time."""
    monkeypatch.setattr("cloudia.telemetry.log", lambda *_, **__: None)
    services = await make_services(cloud.settings)
    requests: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        if model.name not in _BESIDE:
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


async def test_the_order_costs_nothing_where_the_context_is_cached(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn is one lease, one transaction, and its part of a deletion; that its turn has come costs no request."""
    async with counted(cloud, monkeypatch) as requests:
        first = accept(cloud, "one [[words:5]]")
        await finished(cloud, first)
        requests.clear()
        second = accept(cloud, "two [[words:5]]", conversation=first.conversation_id)
        await finished(cloud, second)
        assert requests == {"UpdateItem": 1, "TransactWriteItems": 1, "DeleteMessageBatch": 1}


async def test_the_order_costs_nothing_where_the_context_is_read(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the cache the messages before are one query, which says whether their turns have ended, too."""
    cloud = make_cloud(stack, redis_url="")
    async with counted(cloud, monkeypatch) as requests:
        first = accept(cloud, "one [[words:5]]")
        await finished(cloud, first)
        requests.clear()
        second = accept(cloud, "two [[words:5]]", conversation=first.conversation_id)
        await finished(cloud, second)
        assert requests == {"Query": 1, "UpdateItem": 1, "TransactWriteItems": 1, "DeleteMessageBatch": 1}
