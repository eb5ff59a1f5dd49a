"""The edge waits for no request for ever: heads and bodies have a deadline, and who keeps it is not disturbed."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvicorn

from cloudia.sim.edge import server as server_module
from cloudia.sim.edge.server import BoundedProtocol
from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

_HEAD, _REQUEST = 0.4, 1.0


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for."""
    monkeypatch.setattr(server_module, "_HEAD_SECONDS", _HEAD)
    monkeypatch.setattr(server_module, "_REQUEST_SECONDS", _REQUEST)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body's size; under `/early` before it is there, under `/slow` after a second and a half."""
    size = 0
    if scope["path"] != "/early":
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
    if scope["path"] == "/slow":
        await asyncio.sleep(_REQUEST + 0.5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"%08d" % size})


@asynccontextmanager
async def _served() -> AsyncIterator[int]:
    """Serve as the edge does."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(_app, http=BoundedProtocol, ws="none", lifespan="off", log_config=None, access_log=False)
    served = uvicorn.Server(config)
    with served.capture_signals():
        serving = asyncio.create_task(served._serve([listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            served.should_exit = True
            await serving


async def _drip(port: int, first: bytes, drop: bytes, every: float = 0.1) -> tuple[bytes, float]:
    """Send something, then a little again and again. Return what came back until the end, and how long that took."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)

    async def drips() -> None:
        while True:
            await asyncio.sleep(every)
            writer.write(drop)

    answer, dripping = b"", asyncio.create_task(drips())
    try:
        async with asyncio.timeout(HANGS):
            while block := await reader.read(65_536):
                answer += block
    except ConnectionResetError:
        pass  # It was told before that.
    finally:
        dripping.cancel()
        writer.close()
    return answer, time.monotonic() - began


@pytest.mark.parametrize(
    "first", [b"", b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ", b"GET /"], ids=["nothing", "a header", "a path"]
)
async def test_i7_a_slow_head_is_given_up(first: bytes) -> None:
    """A byte now and then keeps no connection open: 408 at the deadline, and the end."""
    async with _served() as port:
        answer, took = await _drip(port, first, b"x" if first else b"")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert _HEAD - 0.1 < took < 5


@pytest.mark.parametrize("framing", [b"content-length: 1000000", b"transfer-encoding: chunked"])
async def test_i7_a_slow_body_is_given_up(framing: bytes) -> None:
    """A body that trickles in has the same end; the application hears that the client is gone."""
    async with _served() as port:
        head = b"POST / HTTP/1.1\r\nhost: localhost\r\n" + framing + b"\r\n\r\n"
        answer, took = await _drip(port, head, b"1\r\nx\r\n")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert _REQUEST - _HEAD - 0.1 < took < 5


async def test_i7_who_trickles_on_after_the_answer_is_cut_off() -> None:
    """A body that nobody reads any more keeps the connection no longer than one that is read."""
    async with _served() as port:
        answer, took = await _drip(
            port, b"POST /early HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999\r\n\r\n", b"x"
        )
        assert answer.startswith(b"HTTP/1.1 200 ") or not answer
        assert took < 5


async def test_i7_line_ends_between_requests_keep_nothing_open() -> None:
    """What stands before a request line is skipped (RFC 9112, 2.2), and counts as a head."""
    async with _served() as port:
        answer, took = await _drip(port, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", b"\r\n")
        assert answer.count(b"HTTP/1.1 ") <= 2
        assert took < 5


async def test_a_slow_answer_is_no_slow_request() -> None:
    """A whole request is answered however long that takes, and so is the next one on its connection."""
    async with _served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"POST /slow HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HANGS)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(8) == b"00000005"
        writer.close()
