"""The load of a worker: past its capacity it slows down instead of breaking."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from cloudia.worker.load import Load
from cloudia.worker.services import make_services
from cloudia.worker.worker import Worker
from tests.support import eventually

if TYPE_CHECKING:
    from tests.support import Cloud


async def block(loads: list[float]) -> None:
    """Keep the loop from all others, for as long as is said each time, until there is nothing more."""
    while loads:
        time.sleep(loads[0])  # noqa: ASYNC251 - this is the load
        await asyncio.sleep(0)


async def test_a_loop_that_lags_is_heavy_until_it_is_on_time_again() -> None:
    """What blocks it once is no load."""
    load, loads = Load(), [0.3]
    measuring = asyncio.create_task(load.run())
    await asyncio.sleep(0.1)
    time.sleep(0.5)  # noqa: ASYNC251 - once
    await asyncio.sleep(0.1)
    assert not load.heavy
    blocking = asyncio.create_task(block(loads))
    await eventually(lambda: load.heavy)
    loads.clear()
    await eventually(lambda: not load.heavy)
    measuring.cancel()
    await asyncio.wait([measuring, blocking])


async def test_a_worker_that_lags_takes_no_more(cloud: Cloud) -> None:
    """What it has in work goes on, what waits in the queue is left to others until it is on time again; nothing is lost."""
    services = await make_services(cloud.settings)
    worker, loads = Worker(services), [0.15]
    running = asyncio.create_task(worker.run())
    first = cloud.accept("long [[words:2000]]")
    cloud.queue.send(first)
    await eventually(lambda: cloud.jobs.get(first.job_id, "alice").status == "running")
    blocking = asyncio.create_task(block(loads))
    await eventually(lambda: worker._load.heavy and worker._full)
    second = cloud.accept("short [[words:2]]")
    cloud.queue.send(second)
    for _ in range(20):
        await asyncio.sleep(0)
    assert cloud.jobs.get(second.job_id, "alice").status == "queued"
    loads.clear()
    await eventually(lambda: cloud.jobs.get(second.job_id, "alice").status == "done")
    worker.stop()
    worker.stop()
    await asyncio.wait([running, blocking])
