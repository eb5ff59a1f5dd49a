"""The gateway: accepts connections, and hands each event to the connection of its session."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from cloudia import __version__, telemetry
from cloudia.cloud.events import START
from cloudia.cloud.presence import BEAT_SECONDS
from cloudia.cloud.sessions import Published
from cloudia.errors import CloudiaError, InvalidRequestError, RequestError, UnauthorizedError, UnavailableError
from cloudia.gateway.connection import Connection, refuse
from cloudia.ids import part_id
from cloudia.protocol import (
    CLOSE_BAD_FRAME,
    CLOSE_HELLO_TIMEOUT,
    CLOSE_TRY_AGAIN,
    CLOSE_UNAUTHORIZED,
    MAX_FRAME_BYTES,
    VERSION,
    Event,
    Hello,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from cloudia.gateway.services import Services

__all__ = ["Gateway"]

_CLAIM_SECONDS = 30.0
_FIRST_BACKOFF, _LAST_BACKOFF = 0.1, 2.0
_CLOSE_SECONDS = 2.0


class Gateway:
    """One gateway process. `run` returns once it was stopped."""

    def __init__(self, services: Services) -> None:
        self._to = services
        self._connections: dict[str, Connection] = {}
        self._subscribed = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Close all connections and return from `run`; clients resume at another node."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until stopped. `OSError` where the port is taken."""
        settings = self._to.settings
        origins = [Origin(origin.strip()) for origin in settings.gateway_origins.split(",") if origin.strip()]
        async with serve(
            self._serve,
            settings.gateway_host,
            settings.gateway_port,
            process_request=self._answer_http,
            origins=[*origins, None] if origins else None,
            max_size=MAX_FRAME_BYTES,
            max_queue=4,
            open_timeout=settings.gateway_hello_seconds,
            ping_interval=settings.gateway_ping_seconds,
            ping_timeout=settings.gateway_ping_seconds,
            close_timeout=_CLOSE_SECONDS,
            compression=None,
            server_header=None,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            telemetry.log("gateway started", node_id=self._to.node_id, port=port)
            tasks = [asyncio.create_task(work) for work in (self._listen(), self._claim(), self._beat())]
            stopped = asyncio.create_task(self._stopping.wait())
            done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in (stopped, *tasks):
                task.cancel()
            await asyncio.wait({stopped, *tasks})
            for task in done - {stopped}:
                task.result()
        with suppress(UnavailableError):
            await asyncio.to_thread(self._to.presence.leave, "gateway", self._to.node_id)
        await self._to.aclose()
        telemetry.log("gateway stopped")

    # --- connections -----------------------------------------------------------------------------------------------

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer what is no WebSocket: a load balancer's probe. Refuse connections beyond the limit."""
        if request.path == "/health":
            status = HTTPStatus.OK if self._subscribed.is_set() else HTTPStatus.SERVICE_UNAVAILABLE
            return connection.respond(
                status, json.dumps({"connections": len(self._connections), "version": __version__})
            )
        if len(self._connections) >= self._to.settings.gateway_connections:
            error = UnavailableError("this gateway is full", hint="Try again.", code="too_many_connections")
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, json.dumps(error.to_json()))
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        try:
            async with self._opened(socket) as connection:
                await connection.run()
        except TimeoutError:
            error: CloudiaError = InvalidRequestError(
                "no hello came in time", hint="Say hello first.", code="hello_timeout"
            )
            await self._refuse(socket, CLOSE_HELLO_TIMEOUT, error)
        except UnauthorizedError as error_:
            await self._refuse(socket, CLOSE_UNAUTHORIZED, error_)
        except RequestError as error_:
            await self._refuse(socket, CLOSE_BAD_FRAME, error_)
        except UnavailableError as error_:
            await self._refuse(socket, CLOSE_TRY_AGAIN, error_)
        except ConnectionClosed:
            pass

    @asynccontextmanager
    async def _opened(self, socket: ServerConnection) -> AsyncIterator[Connection]:
        """Do the hello, and hold the session's registration for as long as the connection lasts."""
        settings, to = self._to.settings, self._to
        async with asyncio.timeout(settings.gateway_hello_seconds):
            hello = Hello.decode(await socket.recv())
            session_id = await asyncio.to_thread(self._session, hello)
            await self._subscribed.wait()
            last = hello.last_event_id
            resumed = await to.log.holds(session_id, last) if last and last != START else hello.session_id is not None
            connection = Connection(
                socket,
                connection_id=part_id("con"),
                session_id=session_id,
                after=last or START,
                log=to.log,
                most_bytes=settings.gateway_send_bytes,
                stall_seconds=settings.gateway_ping_seconds,
            )
            await to.sessions.register(session_id, node_id=to.node_id, connection_id=connection.id)
        previous, self._connections[session_id] = self._connections.get(session_id), connection
        if previous:
            previous.replace()
        telemetry.log("connected", connection_id=connection.id, resumed=resumed)
        ready = {"session_id": session_id, "connection_id": connection.id, "resumed": resumed, "protocol": VERSION}
        try:
            await socket.send(Event("ready", data=ready).encode())
            yield connection
        finally:
            if self._connections.get(session_id) is connection:
                del self._connections[session_id]
            telemetry.log("disconnected", connection_id=connection.id, code=socket.close_code)
            with suppress(UnavailableError):  # The registration expires by itself.
                await to.sessions.unregister(session_id, connection_id=connection.id)

    def _session(self, hello: Hello) -> str:
        """Return the session of a hello: the one it names, if it is the caller's, else a new one."""
        user = self._to.identity.user(hello.token)
        if hello.session_id is None:
            return self._to.identity.new_session(user)
        self._to.identity.check_session(hello.session_id, user)
        return hello.session_id

    async def _refuse(self, socket: ServerConnection, close_code: int, error: CloudiaError) -> None:
        telemetry.log("connection refused", code=error.code, close_code=close_code)
        await refuse(socket, close_code, error)

    # --- what the gateways share -----------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Hand on what is published for this node; after a failure of Redis, see what was missed."""
        backoff = _FIRST_BACKOFF
        while True:
            try:
                healing = asyncio.create_task(self._heal())
                try:
                    async for notice in self._to.subscriptions.notices(self._to.node_id, subscribed=self._subscribed):
                        backoff = _FIRST_BACKOFF
                        connection = self._connections.get(notice.session_id)
                        if connection is None:
                            continue
                        if isinstance(notice, Published):
                            connection.publish(notice)
                        elif connection.id == notice.connection_id:
                            connection.replace()
                finally:
                    healing.cancel()
            except UnavailableError as error:
                if backoff == _FIRST_BACKOFF:
                    telemetry.log("Redis is away", level=logging.WARNING, code=error.code)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _LAST_BACKOFF)

    async def _heal(self) -> None:
        """Once subscribed, register what is connected and read what was published meanwhile."""
        await self._subscribed.wait()
        telemetry.log("subscribed", connections=len(self._connections))
        await self._claim_all()
        for connection in self._connections.values():
            connection.miss()

    async def _claim(self) -> None:
        while True:
            await asyncio.sleep(_CLAIM_SECONDS)
            await self._claim_all()

    async def _claim_all(self) -> None:
        held = [(session_id, connection.id) for session_id, connection in self._connections.items()]
        with suppress(UnavailableError):  # `_listen` says so, and heals when Redis is back.
            for session_id in await self._to.sessions.claim(held, node_id=self._to.node_id):
                connection = self._connections.get(session_id)
                if connection and (session_id, connection.id) in held:
                    connection.replace()

    async def _beat(self) -> None:
        """Say that this node is alive, from its first subscription on."""
        await self._subscribed.wait()
        while True:
            pause = BEAT_SECONDS
            try:
                await asyncio.to_thread(
                    self._to.presence.beat,
                    "gateway",
                    self._to.node_id,
                    version=__version__,
                    pid=os.getpid(),
                    connections=len(self._connections),
                )
            except UnavailableError:
                pause = _LAST_BACKOFF / 8
            await asyncio.sleep(pause)
