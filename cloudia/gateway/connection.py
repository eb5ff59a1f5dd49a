"""One WebSocket after its hello: what the session missed, then what happens now."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from cloudia import telemetry
from cloudia.cloud.identity import token_expired
from cloudia.errors import CloudiaError, InvalidRequestError, UnavailableError
from cloudia.frames import CLOSE_BAD_FRAME, CLOSE_REPLACED, CLOSE_SLOW, CLOSE_TRY_AGAIN, CLOSE_UNAUTHORIZED
from cloudia.gateway.delivery import Delivery
from cloudia.protocol import Event, event_order
from cloudia.telemetry.events import FrameDelivered

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from cloudia.cloud.events import Entry, EventLog
    from cloudia.cloud.sessions import Published, Registration

__all__ = ["Connection", "refuse"]

_PAGE = 100
_RETRY_SECONDS = 0.5
_MAX_REASON = 123
"""Bytes: RFC 6455 lets a closing frame have 125, two of which are the code."""


class Connection:
    """A session's connection. `run` serves it until it closes."""

    def __init__(
        self,
        socket: ServerConnection,
        *,
        held: Registration,
        after: str,
        expires_at: float,
        log: EventLog,
        most_bytes: int,
        stall_seconds: float,
        heartbeat_seconds: float,
    ) -> None:
        self.held = held
        self.id = held.connection_id
        self._socket = socket
        self._log = log
        self._expires_at = expires_at
        self._stall_seconds = stall_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._sent = after
        """The id of the last event that was sent."""
        self._read_to = after
        """The id of the last event that was read from the log."""
        self._delivery = Delivery(after, most_bytes=most_bytes)
        self._wake = asyncio.Event()
        self._wake.set()
        self._closing: asyncio.Task[None] | None = None

    def publish(self, published: Published) -> None:
        """Take an event that was published for this session."""
        self._delivery.publish(published)
        self._wake.set()

    def miss(self) -> None:
        """Learn that published events may have been lost on the way."""
        self._delivery.miss()
        self._wake.set()

    def replace(self) -> None:
        """Begin to close, because the session has a newer connection."""
        self._closing = asyncio.create_task(self._socket.close(CLOSE_REPLACED, "the session has a newer connection"))

    async def run(self) -> None:
        """Send events until the socket closes, or the token that it was opened with expires."""
        sending = asyncio.create_task(self._send_all())
        beating = asyncio.create_task(self._beat())
        expiring = asyncio.create_task(self._expire())
        try:
            async for _ in self._socket:
                error = InvalidRequestError("a client sends nothing after its hello", code="unexpected_frame")
                await refuse(self._socket, CLOSE_BAD_FRAME, error)
        except ConnectionClosed:
            pass
        finally:
            tasks = (sending, beating, expiring)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.result()

    async def _send_all(self) -> None:
        """Send events; whatever fails in it ends the connection with a reason, for one that is open and silent tells nobody."""
        try:
            await self._send_events()
        except Exception as error:  # noqa: BLE001 - of any kind: the client resumes with a new connection
            telemetry.log("sending failed", level=logging.ERROR, connection_id=self.id, exc_info=error)
            failed = CloudiaError("the gateway failed", hint="Reconnect to resume.", code="internal")
            await self._close(CLOSE_TRY_AGAIN, failed)

    async def _send_events(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while not self._delivery.idle:
                entry = self._delivery.next()
                if entry is None:
                    await self._catch_up()
                elif not await self._send(entry):
                    return

    async def _beat(self) -> None:
        """Say that the line lives, and after which event; a browser sees no ping, and some proxies swallow without a word."""
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                await self._socket.send(Event("heartbeat", after=self._sent).encode())
            except ConnectionClosed:
                return

    async def _expire(self) -> None:
        await asyncio.sleep(self._expires_at - time.time())
        await self._close(CLOSE_UNAUTHORIZED, token_expired())

    async def _close(self, close_code: int, error: CloudiaError) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds):
                await refuse(self._socket, close_code, error)
        except TimeoutError:
            self._socket.transport.abort()  # A reader that stands still takes no frame, nor part in a handshake.

    async def _catch_up(self) -> None:
        try:
            entries = await self._log.after(self.held.session_id, self._delivery.begin_reading(), count=_PAGE)
        except UnavailableError:
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            self._delivery.catch_up(entries, complete=len(entries) < _PAGE)
            self._read_to = entries[-1].id if entries else self._read_to

    async def _send(self, entry: Entry) -> bool:
        """Send an event. Return False where the connection is gone, or its reader stands still and is dropped."""
        frame = f'{{"id":"{entry.id}","after":"{self._sent}",{entry.payload[1:]}'
        self._sent = entry.id  # Before it is sent: a heartbeat that comes meanwhile is sent behind it.
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self._socket.send(frame)
        except ConnectionClosed:
            return False
        except TimeoutError:
            # No closing handshake: whoever does not read would not answer it either.
            asyncio.get_running_loop().call_later(1, self._socket.transport.abort)
            await self._socket.close(CLOSE_SLOW, "the reader is too slow; reconnect to resume")
            return False
        if telemetry.listening():
            self._tell(entry, size=len(frame.encode()), seconds=time.perf_counter() - began)
        return True

    def _tell(self, entry: Entry, *, size: int, seconds: float) -> None:
        fields = json.loads(entry.payload)
        telemetry.notify(
            FrameDelivered(
                job_id=fields.get("job_id"),
                attempt=fields.get("attempt"),
                kind=fields.get("type"),
                event_id=entry.id,
                session_id=self.held.session_id,
                connection_id=self.id,
                at=time.time(),
                seconds=seconds,
                bytes=size,
                traceparent=fields.get("traceparent"),
                replayed=event_order(entry.id) <= event_order(self._read_to),
            )
        )


async def refuse(socket: ServerConnection, close_code: int, error: CloudiaError) -> None:
    """Tell a client what was wrong, and close its connection."""
    try:
        await socket.send(Event("error", data=error.to_json()).encode())
        await socket.close(close_code, error.message.encode()[:_MAX_REASON].decode(errors="ignore"))
    except ConnectionClosed:
        pass
