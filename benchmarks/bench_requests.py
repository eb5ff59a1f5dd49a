"""What a message costs in requests to AWS, by kind: those of the function that accepts it, and of the worker.

    python -m benchmarks.bench_requests

One worker in this process, on a stack of its own; answers of 20 words, each message in a conversation of its own. The first
row is of 20 messages, one a second, the second of 300, thirty a second. Signs of life and polls are among them.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia.cloud.cloud import Cloud as Services
from cloudia.worker.services import make_services
from cloudia.worker.worker import Worker
from tests.support import Cloud, eventually, make_cloud, start_stack, stop_stack

if TYPE_CHECKING:
    from cloudia.cloud.jobs import Jobs
    from cloudia.protocol import QueuedJob

RATES = ((1, 20), (30, 300))


def counting(*clients: Any) -> Counter[str]:
    """Return the requests of these clients of AWS from now on."""
    requests: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        requests[model.name] += 1

    for client in clients:
        client.meta.events.register("before-call", count, unique_id=id(requests))  # Some are one client.
    return requests


def ended(jobs: Jobs, job: QueuedJob) -> bool:
    """Tell whether a job has ended."""
    return jobs.get(job.job_id, job.user_id).ended


async def measure(cloud: Cloud, rate: int, messages: int, *counters: Counter[str]) -> tuple[Counter[str], float]:
    """Send messages at a rate and wait until all have been answered. Return the requests and the seconds."""
    for counter in counters:
        counter.clear()
    began, jobs = time.monotonic(), []
    for number in range(messages):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))

        def send(number: int = number) -> Any:
            job = cloud.accept(f"message {number} [[words:20]]")
            cloud.queue.send(job)
            return job

        jobs.append(asyncio.create_task(asyncio.to_thread(send)))
    accepted = await asyncio.gather(*jobs)
    looker = Services(cloud.settings).jobs  # Its own looks are not counted.
    for job in accepted:
        await eventually(partial(ended, looker, job), every=0.1)
    return sum(counters, Counter()), time.monotonic() - began


async def main() -> None:
    """Print a line a rate."""
    with tempfile.TemporaryDirectory() as folder:
        stack = start_stack(Path(folder), CLOUDIA_LLM_MODEL="sim-1")
        try:
            cloud = make_cloud(stack)
            services = await make_services(cloud.settings)
            worker_side = counting(services.jobs._db, services.history._db, services.queue.sqs)  # noqa: SLF001
            function_side = counting(cloud.intake._db, cloud.queue.sqs)  # noqa: SLF001
            worker = Worker(services)
            running = asyncio.create_task(worker.run())
            await asyncio.sleep(1)
            for rate, messages in RATES:
                requests, seconds = await measure(cloud, rate, messages, worker_side, function_side)
                each = {name: round(count / messages, 2) for name, count in sorted(requests.items())}
                print(f"{rate}/s, {messages} messages in {seconds:.0f} s: {sum(each.values()):.2f} a message", each)
            worker.stop()
            await running
        finally:
            stop_stack(stack)


if __name__ == "__main__":
    asyncio.run(main())
