"""What the tests of a worker work with: jobs, a worker process, its log, and a provider that fails."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from cloudia.protocol import QueuedJob
from tests.cli.provider import ask_provider
from tests.support import Cloud, RunningStack, child, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.forks import Child

USER = "alice"


def accept(cloud: Cloud, content: str, *, conversation: str | None = None, session: str | None = None) -> QueuedJob:
    """Accept a message as the function does, and enqueue it."""
    job = cloud.accept(content, user=USER, conversation_id=conversation, session_id=session)
    cloud.queue.send(job)
    return job


def depth(cloud: Cloud, queue: str) -> int:
    """Return how many messages a queue holds, visible or in flight."""
    url = cloud.aws.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = cloud.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(value) for value in counts.values())


def wear(cloud: Cloud, times: int) -> None:
    """Receive what is in the queue and hand it back, this often."""
    for _ in range(times):
        received = cloud.queue.receive(most=10, wait_seconds=0, visibility_seconds=60)
        if received:  # Else SQS has moved it.
            cloud.queue.change_visibility([message.receipt for message in received], 0)


async def ended(cloud: Cloud, job: QueuedJob) -> Any:
    """Wait until a job has ended and return it."""

    def look() -> Any:
        found = cloud.jobs.get(job.job_id, USER)
        return found if found.ended else None

    return await eventually(look)


@asynccontextmanager
async def worker(cloud: Cloud, tmp_path: Path, **variables: str) -> AsyncIterator[Child]:
    """Run a worker of this cloud; its log is `worker.log`."""
    async with child("cloudia.worker", {**cloud.environment(), **variables}, tmp_path / "worker.log") as process:
        yield process


def log_lines(tmp_path: Path, event: str) -> list[dict[str, Any]]:
    """Return the log lines of one event."""
    lines = [json.loads(line) for line in (tmp_path / "worker.log").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def fault(stack: RunningStack, **fields: Any) -> None:
    """Make the provider fail for one model, so that tests do not disturb each other."""
    ask_provider(stack.run, "POST", "faults", **fields)
