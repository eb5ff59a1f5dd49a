"""`cloudia worker` and `cloudia gateway`: further processes of the running stack."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cloudia.client import Client
from cloudia.sim.ports import choose_port
from tests.cli.provider import reply
from tests.cli.terminal import CTRL_C, running, terminal
from tests.patience import HANGS
from tests.support import RunningStack, cli, eventually

if TYPE_CHECKING:
    from pathlib import Path


def _alive(stack: RunningStack, parts: str) -> set[int]:
    return {part["pid"] for part in stack.json("status")["health"][parts]}


async def test_a_second_worker(stack: RunningStack, tmp_path: Path) -> None:
    """`cloudia worker` attaches a worker that the health names; SIGTERM lets it leave, and exits 0."""
    log = tmp_path / "log"
    with running("worker", folder=stack.folder, log=log) as process:
        await eventually(lambda: process.pid in _alive(stack, "workers"), every=0.1)
        process.terminate()
        assert process.wait(HANGS) == 0
    assert "worker stopped" in log.read_text()
    await eventually(lambda: _alive(stack, "workers") == {stack.run["pids"]["worker"]}, every=0.1)


async def test_a_worker_in_a_terminal(stack: RunningStack) -> None:
    """In a terminal Ctrl-C ends the attached worker, and only that."""
    with terminal("worker", folder=stack.folder) as shown:
        await shown.shows("worker ready")
        shown.type(CTRL_C)
        assert await shown.ends() == 0
    assert stack.json("status")["state"] == "ready"


async def test_a_second_gateway(stack: RunningStack, tmp_path: Path) -> None:
    """`cloudia gateway` serves hello on its own port, and a client of it gets its events; a signal exits 0."""
    port = choose_port()
    with running("gateway", "--port", str(port), folder=stack.folder, log=tmp_path / "log") as process:
        await eventually(lambda: process.pid in _alive(stack, "gateways"), every=0.1)
        async with Client(stack.run["api_url"], f"ws://127.0.0.1:{port}", stack.token()) as client:
            assert (await client.connected()).startswith("ses_")
            reply(stack.run, "Through the other one.")
            texts = [(event.data or {})["text"] async for event in client.ask("hello") if event.type == "delta"]
            assert "".join(texts) == "Through the other one."
        process.terminate()
        assert await asyncio.to_thread(process.wait, 10) == 0


def test_a_gateway_whose_port_is_taken(stack: RunningStack) -> None:
    """A port that is taken ends the gateway with exit 1 and a log line that says so."""
    port = stack.run["environment"]["CLOUDIA_GATEWAY_PORT"]
    refused = stack.cli("gateway", "--port", port)
    assert refused.returncode == 1
    assert "port_taken" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_gateway_without_redis(tmp_path: Path) -> None:
    """For a target elsewhere, a gateway takes its settings from the environment, and says what it lacks."""
    refused = cli("gateway", "--target", "aws", folder=tmp_path)
    assert refused.returncode == 1
    assert "no_redis" in refused.stderr
