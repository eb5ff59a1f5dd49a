"""The line to a client: reading what it asks, waiting no longer than it does, writing, and hanging up on it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from starlette.datastructures import Headers

from cloudia.errors import TimedOutError, TooLargeError
from cloudia.sim.llm.wire import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

__all__ = ["BODY_SECONDS", "CONNECTION", "Connection", "GoneError", "Line", "read_body"]

CONNECTION = "connection"
"""The name under which the server puts the connection into the state of each request."""

BODY_SECONDS = 30.0  # for a client to send its request


class Connection(Protocol):
    """What lies under a request, beyond what ASGI has words for."""

    def close(self) -> None:
        """Close it once what was written is out."""
        ...

    def reset(self) -> None:
        """Break it off with a reset; what is not out yet is lost."""
        ...

    def mute(self) -> None:
        """Write nothing more of the answer under way on the server's own account."""
        ...

    def put(self, raw: bytes) -> None:
        """Write bytes as they are."""
        ...


class GoneError(Exception):
    """The client has closed the connection."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return a request's body.

    Raises TooLargeError over `limit` bytes, TimedOutError after BODY_SECONDS, GoneError if the client goes.
    """
    body = bytearray()
    size = 0
    more = True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GoneError
                part = message.get("body", b"")
                size += len(part)
                # The rest is read all the same: a client that is still sending would not see an answer.
                if size <= limit:
                    body += part
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise TimedOutError(f"the request did not arrive within {BODY_SECONDS:g} s") from error
    if size > limit:
        raise TooLargeError(f"the body has {size} bytes and may have {limit}", hint="send less")
    return bytes(body)


class Line:
    """One request's line. After `body`, call `watch`; call `close` in the end."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = Headers(scope=scope)
        self._connection: Connection = scope["state"][CONNECTION]
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._gone = False
        self._waiter: asyncio.Future[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.on_leave: Callable[[], object] | None = None
        """Called when the client goes by itself, once it is watched."""

    async def body(self, limit: int) -> bytes:
        """Return the request's body; raises as `read_body`."""
        return await read_body(self._receive, limit)

    def watch(self) -> None:
        """Begin to notice when the client goes."""
        self._watching = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self.on_leave:
            self.on_leave()
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def until(self, when: float | None) -> None:
        """Wait until the loop's clock says `when`, for ever if None. Raises GoneError as soon as the client goes."""
        if when is not None and when <= self._loop.time():
            await asyncio.sleep(0)  # a stream that is behind must not keep the others waiting
        elif not self._gone:
            self._waiter = waiter = self._loop.create_future()
            timer = self._loop.call_at(when, _wake, waiter) if when is not None else None
            try:
                await waiter
            finally:
                if timer:
                    timer.cancel()
        if self._gone:
            raise GoneError

    async def answer(self, status: int, value: object, headers: Mapping[str, str]) -> None:
        """Send `value` as a whole JSON answer."""
        await self.start(status, "application/json", headers)
        await self.write(encode(value), more=False)

    async def start(self, status: int, media_type: str, headers: Mapping[str, str]) -> None:
        """Send the status and the headers."""
        named = {"content-type": media_type, **headers}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a piece of the body; the last one unless `more`."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def take_over(self) -> None:
        """Answer byte by byte from now on, by `put`: the server goes through the motions of an answer and writes none."""
        self._connection.mute()
        await self.start(200, "application/octet-stream", {})

    async def put(self, raw: bytes) -> None:
        """Write bytes as they are, as fast as the client takes them."""
        if self._gone:
            raise GoneError
        self._connection.put(raw)
        await self.write(b"", more=True)  # It waits while too much is not out yet.
        await asyncio.sleep(0)  # One write, one packet.

    async def hand_back(self) -> None:
        """End an answer that was taken over; the connection serves the next request."""
        await self.write(b"", more=False)

    async def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection once what was written is out, or reset it at once, whatever is still owed."""
        self.on_leave = None
        self._connection.mute()
        if reset:
            self._connection.reset()
        else:
            self._connection.close()
        if not self._watching:
            self.watch()
        with contextlib.suppress(GoneError):
            await self.until(None)

    def close(self) -> None:
        """Stop watching."""
        if self._watching:
            self._watching.cancel()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
