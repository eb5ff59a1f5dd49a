"""The event stream: a session's events over any number of connections, each event once and in order."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from cloudia.client.addresses import url_of
from cloudia.client.tokens import TokenSource
from cloudia.errors import ForbiddenError, UnauthorizedError, UnavailableError, UsageError, request_error
from cloudia.frames import CLOSE_BAD_FRAME, CLOSE_REPLACED, CLOSE_UNAUTHORIZED
from cloudia.protocol import EVENT_TYPES, START, Event, Hello, UnknownEventError, check_version, event_order

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from websockets.asyncio.client import ClientConnection

    from cloudia.client.addresses import Address
    from cloudia.client.tokens import Token

__all__ = ["EventStream", "StreamState"]

StreamState: TypeAlias = Literal["connecting", "connected", "reconnecting", "closed"]

_OPEN_SECONDS = 5.0
_FIRST_BACKOFF, _LAST_BACKOFF = 0.1, 3.0
"""With the time that an attempt may take, a network that swallowed everything is found to be back within 8 s."""
_SILENT_BEATS = 2
"""Heartbeats that a connection may miss before it counts as dead."""
_MAX_FRAME = 1024 * 1024
_FORBIDDEN = 403
_FINAL = {CLOSE_BAD_FRAME: 400, CLOSE_UNAUTHORIZED: 401, CLOSE_REPLACED: 409}
"""Where reconnecting is useless: close codes, and the statuses that mean the same."""


class EventStream:
    """One session. Iterate over `events()`; it reconnects with back-off and resumes until it is closed.

    Where `token` is a function, it is asked for another one when the gateway refuses the one before, or ends the connection
    because that has expired. `session_id` and `last_event_id` may be kept and given to a new stream: it goes on where this one
    ended.
    """

    def __init__(
        self,
        address: Address,
        token: Token | TokenSource,
        *,
        session_id: str | None = None,
        last_event_id: str | None = None,
    ) -> None:
        self._address = address
        self._tokens = token if isinstance(token, TokenSource) else TokenSource(token)
        self._used = ""
        self.session_id = session_id
        self.last_event_id = last_event_id
        self.state: StreamState = "connecting"
        self.retry_at: float | None = None
        """When the next connection is tried, by the event loop's clock; None unless `reconnecting`."""
        self._socket: ClientConnection | None = None
        self._silence: float | None = None
        """Seconds in which this connection brings something, if it is only a heartbeat; None where its gateway has none."""

    async def events(self) -> AsyncIterator[Event]:
        """Yield the session's events, and a `ready` for each new connection.

        Raises where going on is useless: `UnauthorizedError` where no other token is to be had, `ConflictError` where another
        connection took the session over, `InvalidRequestError` and `ForbiddenError` where the gateway refuses this client,
        `LaterVersionError` where it speaks a later version of the protocol.
        """
        backoff, renewed = _FIRST_BACKOFF, False
        self.state = "connecting"
        try:
            while True:
                try:
                    async with aclosing(self.connection()) as events:
                        async for event in events:
                            backoff, renewed = _FIRST_BACKOFF, False
                            yield event
                except UnauthorizedError:
                    if renewed or not self._tokens.refused(self._used):
                        raise
                    renewed = True  # Until the gateway has taken one: two refused in a row are no accident.
                except (ConnectionClosed, UnavailableError, OSError, TimeoutError, InvalidHandshake, EOFError):
                    pass  # Each of these may pass by itself.
                self.state = "reconnecting"
                delay = backoff * (0.5 + random.random() / 2)  # noqa: S311
                self.retry_at = asyncio.get_running_loop().time() + delay
                await asyncio.sleep(delay)
                backoff = min(backoff * 2, _LAST_BACKOFF)
        finally:
            self.state, self.retry_at = "closed", None

    def forget(self) -> None:
        """Let the session go: the next connection begins a new one."""
        self.session_id = self.last_event_id = None

    async def cut(self) -> None:
        """Break the connection off without a closing handshake, as a bad network does; the stream reconnects."""
        if self._socket:
            self._socket.transport.abort()

    async def connection(self) -> AsyncGenerator[Event, None]:
        """Yield what one connection brings, until it closes."""
        self._used = await self._tokens.get()
        socket = await self._opened()
        self._socket = socket
        refusal: dict[str, Any] | None = None
        try:
            await socket.send(Hello(self._used, self.session_id, self.last_event_id).encode())
            async with asyncio.timeout(_OPEN_SECONDS):
                first = Event.decode(await socket.recv())
            if first.type == "ready":
                self._greeted(first.data or {})
                yield first
            else:
                refusal = first.data
            while True:
                async with asyncio.timeout(self._silence):
                    event = _decoded(await socket.recv())
                if event.id is None and event.type == "error":
                    refusal = event.data  # of the connection: it says why it is closed next
                elif self._is_next(event) and event.type in EVENT_TYPES:
                    yield event
        except ConnectionClosed as closed:
            if closed.rcvd and closed.rcvd.code in _FINAL:
                body = refusal or {"error": {"message": closed.rcvd.reason}}
                raise request_error(_FINAL[closed.rcvd.code], body) from closed
            raise
        finally:
            self._socket, self._silence = None, None
            await socket.close()

    def _greeted(self, ready: dict[str, Any]) -> None:
        """Take what the gateway says of itself and of this connection."""
        check_version(ready.get("protocol"), what="the gateway")
        self.session_id = ready["session_id"]
        beat = ready.get("heartbeat_seconds")
        self._silence = _SILENT_BEATS * beat if isinstance(beat, int | float) and beat > 0 else None
        self.state, self.retry_at = "connected", None

    async def _opened(self) -> ClientConnection:
        """Return a connection before its hello."""
        url = url_of(self._address)
        try:
            return await connect(
                url,
                open_timeout=_OPEN_SECONDS,
                max_size=_MAX_FRAME,
                compression=None,
                proxy=None,
                close_timeout=1,
            )
        except InvalidURI as error:
            raise UsageError(f"{url} is not the URL of a gateway", hint="It begins with ws:// or wss://.") from error
        except InvalidStatus as error:
            if error.response.status_code == _FORBIDDEN:
                raise ForbiddenError("the gateway refuses this origin") from error
            raise

    def _is_next(self, event: Event) -> bool:
        """Tell whether an event is to be told. `UnavailableError` where one before it was lost: the next connection has it."""
        last = self.last_event_id
        if event.id and last and event_order(event.id) <= event_order(last):
            return False
        if event.after is not None and event.after != (last or START):
            raise UnavailableError("an event was lost on the way")
        self.last_event_id = event.id or last
        return event.id is not None


def _decoded(frame: str | bytes) -> Event:
    """Return the event of a frame, also of a type that a later version knows."""
    try:
        return Event.decode(frame)
    except UnknownEventError as unknown:
        return unknown.event
