"""The clients in `examples/`, which know of cloudia what `docs/protocol.md` says."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.protocol import START
from cloudia.sim.ports import LOOPBACK, choose_port
from tests.gateway.lines import line
from tests.gateway.nodes import SCRIPTED_READY, beside, scripted
from tests.patience import HANGS
from tests.support import RunningStack, clean_environment, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_EXAMPLES = Path(__file__).parents[2] / "examples"
_USER = "examples"


def _node() -> str:
    """Return Node, where it has a WebSocket of its own."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node on this machine")
    flags = ["--experimental-websocket", "-p", "typeof WebSocket"]
    if subprocess.run([node, *flags], capture_output=True, text=True, check=False).stdout.strip() != "function":
        pytest.skip("this Node is older than its WebSocket: 20.10 has it")
    return node


@pytest.fixture(params=["node", "aiohttp"])
def command(request: pytest.FixtureRequest) -> list[str]:
    """How one of the clients is run."""
    if request.param == "node":
        return [_node(), "--experimental-websocket", "--no-warnings", str(_EXAMPLES / "node/ask.js")]
    return [sys.executable, str(_EXAMPLES / "aiohttp_client/ask.py")]


@dataclass
class Asking:
    """A client that runs, and what it has printed."""

    process: asyncio.subprocess.Process
    text: str = ""
    states: list[str] = field(default_factory=list)

    async def ends(self) -> int:
        """Wait until it has ended. Return its exit status."""
        async with asyncio.timeout(HANGS):
            return await self.process.wait()


@asynccontextmanager
async def asking(command: list[str], content: str, *, api: str, gateway: str, token: str) -> AsyncIterator[Asking]:
    """Run a client that asks one question, and read what it prints until the block ends."""
    where = {"CLOUDIA_API_URL": api, "CLOUDIA_WEBSOCKET_URL": gateway, "CLOUDIA_TOKEN": token}
    process = await asyncio.create_subprocess_exec(
        *command,
        content,
        env=clean_environment(**where),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    client = Asking(process)

    async def read_text() -> None:
        assert process.stdout
        while piece := await process.stdout.read(65_536):
            client.text += piece.decode()

    async def read_states() -> None:
        assert process.stderr
        async for row in process.stderr:
            client.states.append(row.decode().strip())

    reading = asyncio.gather(read_text(), read_states())
    try:
        yield client
    finally:
        if process.returncode is None:
            process.kill()
        await reading
        await process.wait()


async def recorded(stack: RunningStack) -> str:
    """Return the last answer that the stack has for the examples' user."""
    listed = await asyncio.to_thread(stack.json, "conversations", "list", "--limit", "1", "--user", _USER)
    shown = await asyncio.to_thread(
        stack.json, "conversations", "show", listed["conversations"][0]["conversation_id"], "--user", _USER
    )
    content: str = shown["messages"][-1]["content"]
    return content


async def test_it_prints_the_answer(stack: RunningStack, command: list[str]) -> None:
    """As it is recorded, and nothing else on its output."""
    api, gateway = stack.run["api_url"], stack.run["websocket_url"]
    async with asking(command, "hello [[words:40]]", api=api, gateway=gateway, token=stack.token(_USER)) as client:
        assert await client.ends() == 0
    assert client.text == f"{await recorded(stack)}\n"
    assert client.states == ["connected"]


async def test_i4_a_network_that_swallows_everything(stack: RunningStack, command: list[str], tmp_path: Path) -> None:
    """Nobody closes anything; the client reconnects by itself, and has the whole answer once the network is back."""
    async with (
        beside(stack, tmp_path / "gateway.log", CLOUDIA_GATEWAY_HEARTBEAT_SECONDS="0.5") as node,
        line(node.url) as events,
        line(stack.run["api_url"]) as requests,
        asking(
            command, "over a bad line [[words:150]]", api=requests.url, gateway=events.url, token=stack.token(_USER)
        ) as client,
    ):
        await eventually(lambda: len(client.text) > 20)
        events.silent = requests.silent = True
        await eventually(lambda: "reconnecting" in client.states)
        seen = client.text
        events.silent = requests.silent = False
        assert await client.ends() == 0
    whole = await recorded(stack)
    assert whole.startswith(seen)
    assert client.text.endswith(f"{whole}\n")


async def test_i4_bytes_that_were_swallowed_are_missed(stack: RunningStack, command: list[str], tmp_path: Path) -> None:
    """A moment in which text was lost is noticed by what comes after it, and nothing of it is missing in the end."""
    async with (
        beside(stack, tmp_path / "gateway.log", CLOUDIA_GATEWAY_HEARTBEAT_SECONDS="0.5") as node,
        line(node.url) as events,
        asking(
            command,
            "a moment of silence [[words:150]]",
            api=stack.run["api_url"],
            gateway=events.url,
            token=stack.token(_USER),
        ) as client,
    ):
        await eventually(lambda: len(client.text) > 20)
        events.swallowed, events.silent = 0, True
        await eventually(lambda: events.swallowed)
        events.silent = False
        assert await client.ends() == 0
    assert client.text == f"{await recorded(stack)}\n"


async def test_i9_another_version(command: list[str]) -> None:
    """What a later version adds is passed over and counts as no loss; a protocol that is too high ends the client."""
    nowhere = f"http://{LOOPBACK}:{choose_port()}"
    frames: list[dict[str, Any]] = [
        {**SCRIPTED_READY, "heartbeat_seconds": 60, "novel": 1},
        {"type": "novel"},
        {"type": "novel", "id": "1-0", "after": START, "job_id": "job_1"},
        {"type": "heartbeat", "after": "1-0", "novel": 1},
        {**SCRIPTED_READY, "protocol": 2},
    ]
    hellos: list[Any] = []
    async with scripted(frames, hellos) as url, asking(command, "hello", api=nowhere, gateway=url, token="t") as client:
        assert await client.ends() == 1
    assert len(hellos) == 1
    assert client.states == ["connected", "error: the gateway speaks protocol 2, and 1 is known here"]
