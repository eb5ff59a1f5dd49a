"""What a message costs in requests to AWS, by kind: those of the function that accepts it, and of the worker.

    python -m benchmarks.bench_requests            prints it
    python -m benchmarks.bench_requests --write    and keeps it in cloudia/prices/mix.json, for `cloudia cost estimate`

One worker in this process, on a stack of its own; answers of 20 words, each message in a conversation of its own, with an
idempotency key as clients send it. The first row is of 20 messages, one a second, the second of 300, thirty a second; signs of
life and polls are among them. The last one is of a worker that has nothing to do, an hour of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudia
from cloudia.cloud.cloud import Cloud as Services
from cloudia.worker.services import make_services
from cloudia.worker.worker import Worker
from tests.support import Cloud, eventually, make_cloud, start_stack, stop_stack

if TYPE_CHECKING:
    from cloudia.cloud.jobs import Jobs
    from cloudia.protocol import QueuedJob

RATES = {"sparse": (1, 20), "busy": (30, 300)}
IDLE_SECONDS = 60
MIX = Path(cloudia.__file__).parent / "prices" / "mix.json"


def counting(*clients: Any) -> Counter[str]:
    """Return the requests of these clients of AWS from now on, and the items of transactions."""
    requests: Counter[str] = Counter()

    def count(params: dict[str, Any], model: Any, **_: Any) -> None:
        requests[model.name] += 1
        if "TransactItems" in params:
            requests["TransactItems"] += len(params["TransactItems"])

    for client in clients:
        client.meta.events.register("before-parameter-build", count, unique_id=id(requests))  # Some are one client.
    return requests


def ended(jobs: Jobs, job: QueuedJob) -> bool:
    """Tell whether a job has ended."""
    return jobs.get(job.job_id, job.user_id).ended


async def measure(cloud: Cloud, rate: int, messages: int) -> float:
    """Send messages at a rate and wait until all have been answered. Return the seconds."""
    began, jobs = time.monotonic(), []
    for number in range(messages):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))

        def send(number: int = number) -> Any:
            job = cloud.accept(f"message {number} [[words:20]]", idempotency_key=f"{rate}-{number}")
            cloud.queue.send(job)
            return job

        jobs.append(asyncio.create_task(asyncio.to_thread(send)))
    accepted = await asyncio.gather(*jobs)
    looker = Services(cloud.settings).jobs  # Its own looks are not counted.
    for job in accepted:
        await eventually(partial(ended, looker, job), every=0.1)
    return time.monotonic() - began


async def main() -> None:
    """Print a line a rate."""
    with tempfile.TemporaryDirectory() as folder:
        stack = start_stack(Path(folder), CLOUDIA_LLM_MODEL="sim-1")
        try:
            cloud = make_cloud(stack, worker_poll_seconds=20)
            services = await make_services(cloud.settings)
            worker_side = counting(services.jobs._db, services.history._db, services.queue.sqs)  # noqa: SLF001
            function_side = counting(cloud.intake._db, cloud.queue.sqs)  # noqa: SLF001
            worker = Worker(services)
            running = asyncio.create_task(worker.run())
            await asyncio.sleep(1)
            mix: dict[str, Any] = {"measured": datetime.now(UTC).date().isoformat()}
            for name, (rate, messages) in RATES.items():
                for counter in (function_side, worker_side):
                    counter.clear()
                seconds = await measure(cloud, rate, messages)
                mix[name] = {
                    side: {kind: round(count / messages, 2) for kind, count in sorted(counter.items())}
                    for side, counter in (("function", function_side), ("worker", worker_side))
                }
                print(f"{rate}/s, {messages} messages in {seconds:.0f} s, each: {mix[name]}")
            worker_side.clear()
            await asyncio.sleep(IDLE_SECONDS)
            hours = IDLE_SECONDS / 3600
            mix["idle_hour"] = {kind: round(count / hours) for kind, count in sorted(worker_side.items())}
            print(f"an idle hour: {mix['idle_hour']}")
            if "--write" in sys.argv[1:]:
                MIX.write_text(json.dumps(mix, indent=1) + "\n")
            worker.stop()
            await running
        finally:
            stop_stack(stack)


if __name__ == "__main__":
    asyncio.run(main())
