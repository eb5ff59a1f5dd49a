"""The worker's probes for a container's orchestrator."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.worker.probes import serve_probes
from tests.support import Cloud, child, eventually

if TYPE_CHECKING:
    from pathlib import Path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def ask(port: int, raw: bytes) -> bytes:
    """Send bytes and return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def probe(port: int, path: str) -> tuple[int, Any]:
    """Ask for a path; (0, None) where nobody listens."""
    try:
        answer = await ask(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    except OSError:
        return 0, None
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


@pytest.mark.parametrize(
    ("age", "live", "ready"), [(None, 200, 503), (0.0, 200, 200), (29.0, 200, 200), (31.0, 503, 503)]
)
async def test_live_and_ready_follow_the_last_finished_poll(age: float | None, live: int, ready: int) -> None:
    """Live unless polls stopped finishing; ready from the first poll on, until the worker stops."""
    port = free_port()
    async with serve_probes("127.0.0.1", port, poll_age=lambda: age, refused=dict, stale=30):
        assert (await probe(port, "/live"))[0] == live
        status, body = await probe(port, "/ready")
        assert (status, body["poll_age"]) == (ready, age)


async def test_i7_a_worker_that_is_refused_says_so() -> None:
    """What AWS refuses is in the answer of both, and neither says that all is well, also before the first poll."""
    port, refused = free_port(), {"messages deleted": "AWS does not allow DeleteMessageBatch"}
    for age in (None, 0.0):
        async with serve_probes("127.0.0.1", port, poll_age=lambda age=age: age, refused=lambda: refused, stale=30):  # type: ignore[misc]
            for path in ("/live", "/ready"):
                assert await probe(port, path) == (503, {"status": "refused", "poll_age": age, "refused": refused})


async def test_what_is_no_probe_is_refused() -> None:
    """An unknown path is a 404; garbage and a line without end get no answer, and probes go on."""
    port = free_port()
    async with serve_probes("127.0.0.1", port, poll_age=lambda: 0.0, refused=dict, stale=30):
        assert (await probe(port, "/metrics"))[0] == 404
        assert await ask(port, b"garbage") == b""
        assert await ask(port, b"x" * 10_000) == b""
        assert (await probe(port, "/live"))[0] == 200


async def test_a_worker_is_ready_until_it_stops(cloud: Cloud, tmp_path: Path) -> None:
    """A worker is live and ready once it has polled; after SIGTERM, while it finishes, live and not ready."""
    port = free_port()
    environment = {**cloud.environment(), "CLOUDIA_WORKER_PROBE_PORT": str(port)}
    async with child("cloudia.worker", environment, tmp_path / "worker.log") as process:

        async def is_ready() -> bool:
            return (await probe(port, "/ready"))[0] == 200

        await eventually(is_ready)
        assert (await probe(port, "/live"))[0] == 200
        job = cloud.accept("finish this [[words:100]]")
        cloud.queue.send(job)
        await eventually(lambda: cloud.jobs.get(job.job_id, "alice").status == "running")
        process.send_signal(signal.SIGTERM)

        async def is_leaving() -> bool:
            return (await probe(port, "/ready"))[0] == 503

        await eventually(is_leaving)
        assert (await probe(port, "/live"))[0] == 200
        assert await process.wait() == 0
    assert cloud.jobs.get(job.job_id, "alice").status == "done"
