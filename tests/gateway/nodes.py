"""Gateways of a test's own, and what a client says to them and hears, frame by frame."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from cloudia.cloud import redis
from cloudia.cloud.events import EventLog, Frame
from cloudia.protocol import Event, Hello
from cloudia.settings import to_environment
from cloudia.sim.ports import LOOPBACK, choose_port
from tests.patience import HANGS
from tests.support import Cloud, RunningStack, child, clean_environment, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from cloudia.settings import Settings
    from tests.forks import Child

__all__ = [
    "CONVERSATION",
    "JOB",
    "SCRIPTED_READY",
    "Node",
    "append",
    "beside",
    "frames_until",
    "greet",
    "log_of",
    "next_frame",
    "opened",
    "running",
    "said_no",
    "scripted",
    "texts",
]

JOB = "job_01k0000000000000000000000a"
CONVERSATION = "cnv_01k0000000000000000000000a"
SCRIPTED_READY: dict[str, Any] = {
    "type": "ready",
    "session_id": "ses_1",
    "connection_id": "con_1",
    "resumed": False,
    "protocol": 1,
}
"""As the first gateways said it."""
_PATIENCE = 10.0


@dataclass
class Node:
    """A gateway process."""

    port: int
    process: Child
    log: Path
    token: str
    """Bears who asks for `/health`."""

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://{LOOPBACK}:{self.port}"

    def health(self) -> tuple[int, Any]:
        """Return status and body of `/health`; status 0 where nobody listens."""
        return self.get("/health", authorization=f"Bearer {self.token}")

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Return status and body of a GET: JSON where it is some, else text."""
        request = urllib.request.Request(f"http://{LOOPBACK}:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=HANGS) as response:
                return response.status, _body(response.read())
        except HTTPError as error:
            with error:
                return error.code, _body(error.read())
        except URLError:
            return 0, None

    async def ready(self, *, status: int = 200) -> None:
        """Wait until `/health` answers with a status."""
        await eventually(lambda: asyncio.to_thread(lambda: self.health()[0] == status))

    def terminate(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the lines that it has logged of one event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == name]


def _body(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode()


@asynccontextmanager
async def running(cloud: Cloud, log: Path, **environment: str) -> AsyncIterator[Node]:
    """Run a gateway of a cloud until the block ends."""
    async with _started(cloud.environment(), cloud.token(), log, environment) as node:
        yield node


@asynccontextmanager
async def beside(stack: RunningStack, log: Path, **environment: str) -> AsyncIterator[Node]:
    """Run one more gateway of a stack until the block ends."""
    async with _started(clean_environment(**to_environment(stack.settings)), stack.token(), log, environment) as node:
        yield node


@asynccontextmanager
async def _started(
    variables: dict[str, str], token: str, log: Path, environment: dict[str, str]
) -> AsyncIterator[Node]:
    port = choose_port()
    async with child(
        "cloudia.gateway", {**variables, "CLOUDIA_GATEWAY_PORT": str(port), **environment}, log
    ) as process:
        node = Node(port, process, log, token)
        await node.ready()
        yield node


@asynccontextmanager
async def scripted(frames: Sequence[Mapping[str, Any]], hellos: list[Any] | None = None) -> AsyncIterator[str]:
    """Serve a gateway of another version, which answers each hello with these frames, and stays. Gives its URL."""

    async def handle(socket: ServerConnection) -> None:
        hello = await socket.recv()
        if hellos is not None:
            hellos.append(hello)
        for frame in frames:
            await socket.send(json.dumps(frame))
        await socket.wait_closed()

    async with serve(handle, LOOPBACK, 0) as server:
        yield f"ws://{LOOPBACK}:{next(iter(server.sockets)).getsockname()[1]}"


@asynccontextmanager
async def log_of(settings: Settings, *, url: str = "") -> AsyncIterator[EventLog]:
    """Open the event log of a cloud or a stack, as a worker does."""
    client = redis.connect(url or settings.redis_url, timeout=10)
    try:
        yield EventLog(client, settings.stack_name, ttl_seconds=600, max_length=10_000)
    finally:
        await client.aclose()


async def append(log: EventLog, session_id: str, texts: Sequence[str], *, job_id: str = JOB) -> list[str]:
    """Append a delta for each text. Return the ids of the events."""
    ids: list[str] = []
    for start in range(0, len(texts), 500):
        frames = [
            Frame(session_id, 1, Event("delta", job_id, CONVERSATION, 1, {"text": text}))
            for text in texts[start : start + 500]
        ]
        for appended in await log.append(frames):
            assert appended.id is not None
            ids.append(appended.id)
    return ids


def opened(node: Node, **options: Any) -> connect:
    """Open a WebSocket to a gateway."""
    return connect(node.url, compression=None, proxy=None, max_size=None, close_timeout=1, **options)


async def next_frame(socket: ClientConnection) -> dict[str, Any]:
    """Return the next frame that is no heartbeat."""
    async with asyncio.timeout(_PATIENCE):
        while (frame := json.loads(await socket.recv()))["type"] == "heartbeat":
            pass
    return dict(frame)


async def greet(
    socket: ClientConnection, token: str, session_id: str | None = None, last_event_id: str | None = None
) -> dict[str, Any]:
    """Say hello and return the `ready`."""
    await socket.send(Hello(token, session_id, last_event_id).encode())
    ready = await next_frame(socket)
    assert ready["type"] == "ready", ready
    return ready


async def frames_until(socket: ClientConnection, event_id: str) -> list[dict[str, Any]]:
    """Return the frames up to an event."""
    frames = [await next_frame(socket)]
    while frames[-1]["id"] != event_id:
        frames.append(await next_frame(socket))
    return frames


def texts(frames: Sequence[dict[str, Any]]) -> list[str]:
    """Return the texts of deltas."""
    return [frame["text"] for frame in frames]


async def said_no(socket: ClientConnection) -> tuple[int | None, dict[str, Any] | None]:
    """Return how a gateway refused: the close code, and the error of the event before it, if there was one."""
    error = None
    try:
        while True:
            frame = await next_frame(socket)
            assert frame.keys() == {"type", "error"}, frame
            assert frame["type"] == "error"
            error = frame["error"]
    except ConnectionClosed as closed:
        return (closed.rcvd.code if closed.rcvd else None), error
