"""URLs that somebody gave: whether a stack is behind them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import serve

from cloudia.client.check import check_stack
from cloudia.errors import UnauthorizedError, UnavailableError, UsageError
from cloudia.protocol import LaterVersionError
from cloudia.sim.ports import LOOPBACK, choose_port
from tests.gateway.nodes import SCRIPTED_READY, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.server import ServerConnection

    from tests.support import RunningStack


@asynccontextmanager
async def answering(raw: bytes) -> AsyncIterator[str]:
    """Serve something that answers whatever comes with these bytes, and closes. Gives its `host:port`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(raw)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, LOOPBACK, 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


def http(status: str, body: str) -> bytes:
    """Return an answer of an HTTP server."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


OTHERS = [
    http("404 Not Found", "<h1>Not here</h1>"),
    http("200 OK", "<h1>It works</h1>"),
    http("200 OK", json.dumps({"status": "ok"})),
    http("302 Found", ""),
    b"-ERR unknown command\r\n",
]


async def test_a_stack_is_one(stack: RunningStack) -> None:
    """Nothing is raised where both are a stack's; a token that is not good is told as that."""
    api, gateway = stack.run["api_url"], stack.run["websocket_url"]
    await check_stack(api, gateway, stack.token())
    with pytest.raises(UnauthorizedError):
        await check_stack(api, gateway, "garbage")


@pytest.mark.parametrize("raw", OTHERS)
async def test_something_else_at_the_api(stack: RunningStack, raw: bytes) -> None:
    """A web server, another API, a redirection, or something that speaks no HTTP: the error names the URL."""
    async with answering(raw) as where:
        with pytest.raises(UsageError, match=f"http://{where} is not the HTTP API of a stack"):
            await check_stack(f"http://{where}", stack.run["websocket_url"], stack.token())


@pytest.mark.parametrize("raw", OTHERS)
async def test_something_else_at_the_gateway(stack: RunningStack, raw: bytes) -> None:
    """The same at the other URL."""
    async with answering(raw) as where:
        with pytest.raises(UsageError, match=f"ws://{where} is not a gateway"):
            await check_stack(stack.run["api_url"], f"ws://{where}", stack.token())


async def test_another_web_socket(stack: RunningStack) -> None:
    """An echo is no gateway; a gateway of a later version is told as that."""

    async def echo(socket: ServerConnection) -> None:
        await socket.send(await socket.recv())

    async with serve(echo, LOOPBACK, 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(UsageError, match="is not a gateway"):
            await check_stack(stack.run["api_url"], f"ws://{LOOPBACK}:{port}", stack.token())
    async with scripted([{**SCRIPTED_READY, "protocol": 2}]) as url:
        with pytest.raises(LaterVersionError):
            await check_stack(stack.run["api_url"], url, stack.token())


async def test_nothing_at_all(stack: RunningStack) -> None:
    """Where nobody listens, or a server fails, it cannot be reached; what is no URL is told as that."""
    free = f"{LOOPBACK}:{choose_port()}"
    with pytest.raises(UnavailableError):
        await check_stack(f"http://{free}", stack.run["websocket_url"], stack.token())
    with pytest.raises(UnavailableError, match="the gateway cannot be reached"):
        await check_stack(stack.run["api_url"], f"ws://{free}", stack.token())
    async with answering(http("503 Service Unavailable", "")) as where:
        with pytest.raises(UnavailableError):
            await check_stack(stack.run["api_url"], f"ws://{where}", stack.token())
    for url in (free, "ftp://x"):
        with pytest.raises(UsageError, match="is not the URL of an HTTP API"):
            await check_stack(url, stack.run["websocket_url"], stack.token())
