"""`GET /health`: whether a message that is accepted now would be answered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cloudia import __version__
from cloudia.sim.ports import LOOPBACK, choose_port
from tests.functions import contract
from tests.functions.apis import edge_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.functions.apis import QuietCloud, Users
    from tests.support import Cloud, RunningStack


def test_a_whole_stack_is_ok(stack: RunningStack, users: Users) -> None:
    """It names the worker and the gateway that run, and when the worker last polled."""
    health = users.client(None).get("/health").json()
    assert (health["status"], health["version"]) == ("ok", __version__)
    (worker,), (gateway,) = health["workers"], health["gateways"]
    pids = stack.project.require_run().pids
    assert (worker["pid"], gateway["pid"]) == (pids["worker"], pids["gateway"])
    assert abs(time.time() - worker["polled_at"]) < 30
    assert [(route["provider"], route["model"], route["breaker"]) for route in worker["routes"]] == [
        ("openai", "sim-1", "closed")
    ]


def test_without_a_worker_it_is_degraded(quiet: QuietCloud) -> None:
    """What is accepted would wait: `degraded`, and still a 200."""
    response = quiet.client(None).get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "degraded", "version": __version__, "workers": [], "gateways": []}


async def test_without_the_engine_it_is_a_503(cloud: Cloud, tmp_path: Path) -> None:
    """Where AWS is away every function says so as JSON, with `Retry-After`, and the edge stays up."""
    nowhere = f"http://{LOOPBACK}:{choose_port()}"
    async with edge_of(cloud, tmp_path / "edge.log", aws_endpoint_url=nowhere) as (url, process):
        with contract.client(url, cloud.token()) as client:
            for response in (client.get("/health"), client.post("/messages", json={"content": "hello"})):
                assert (response.status_code, contract.code_of(response)) == (503, "aws_unavailable")
                assert int(response.headers["retry-after"]) >= 1
        assert process.returncode is None


async def test_without_its_resources_it_is_a_503(cloud: Cloud, tmp_path: Path) -> None:
    """Where the engine is there and nothing was provisioned, it says that."""
    async with edge_of(cloud, tmp_path / "edge.log", stack_name="nothing") as (url, _):
        with contract.client(url, cloud.token()) as client:
            for path in ("/health", "/conversations"):
                response = client.get(path)
                assert (response.status_code, contract.code_of(response)) == (503, "not_provisioned")
