"""A worker that AWS refuses something for good: a permission, expired credentials, a key, a queue that is gone."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from cloudia.drill.gatekeeper import gatekeeper
from tests.patience import HANGS
from tests.support import RunningStack, eventually, make_cloud
from tests.worker.test_probes import free_port, probe
from tests.worker.working import USER, accept, ended, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("ReceiveMessage", "ExpiredTokenException"),
        ("DeleteMessageBatch", "AccessDeniedException"),
        ("ChangeMessageVisibilityBatch", "KmsAccessDenied"),
        ("UpdateItem", "AccessDeniedException"),
        pytest.param("PutItem", "SomethingNobodyKnows", marks=pytest.mark.long),
    ],
)
async def test_i7_a_refusal_is_told_and_holds_nobody_up(
    stack: RunningStack, tmp_path: Path, action: str, code: str
) -> None:
    """I7: the worker says in its log and its probes what it may not do, goes on once it may, and ends at the first SIGTERM."""
    cloud = make_cloud(stack, worker_visibility_seconds=3, worker_lease_seconds=3)
    port = free_port()
    with gatekeeper(stack.settings.aws_endpoint_url) as gate:
        gate.code = code
        environment = {"CLOUDIA_AWS_ENDPOINT_URL": gate.url, "CLOUDIA_WORKER_PROBE_PORT": str(port)}
        async with worker(cloud, tmp_path, **environment) as process:
            await eventually(lambda: log_lines(tmp_path, "worker ready"))
            job = accept(cloud, "will it end? [[words:150]]")
            await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
            gate.refuses.add(action)
            await eventually(lambda: log_lines(tmp_path, "refused"))
            status, told = await probe(port, "/live")
            assert status == 503
            assert told["refused"]
            gate.refuses.clear()
            assert (await ended(cloud, job)).status == "done"

            async def is_live() -> bool:
                return (await probe(port, "/live"))[0] == 200

            if action != "DeleteMessageBatch":  # Nothing is deleted again before the next answer.
                await eventually(is_live)
            accept(cloud, "a last one [[words:150]]")
            await eventually(lambda: len(log_lines(tmp_path, "job ended")) == 1)
            gate.refuses.add(action)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), HANGS) == 0
    assert not log_lines(tmp_path, "left behind; the queue gives it out again")


async def test_i7_a_worker_whose_queue_was_deleted_ends_at_the_first_signal(
    stack: RunningStack, tmp_path: Path
) -> None:
    """I7: with its queue gone in mid-answer, the answer is recorded, and SIGTERM ends the worker."""
    cloud = make_cloud(stack, worker_visibility_seconds=3, worker_lease_seconds=3)
    async with worker(cloud, tmp_path) as process:
        job = accept(cloud, "still there? [[words:200]]")
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        cloud.aws.sqs.delete_queue(QueueUrl=cloud.queue.url)
        assert (await ended(cloud, job)).status == "done"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), HANGS) == 0
