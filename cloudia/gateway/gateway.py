"""The gateway: accepts connections, and hands each event to the connection of its session."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from cloudia import __version__, telemetry
from cloudia.cloud.identity import bearer
from cloudia.cloud.presence import BEAT_SECONDS
from cloudia.cloud.sessions import Published, Registration
from cloudia.errors import CloudiaError, InvalidRequestError, RequestError, UnauthorizedError, UnavailableError
from cloudia.frames import CLOSE_BAD_FRAME, CLOSE_HELLO_TIMEOUT, CLOSE_TRY_AGAIN, CLOSE_UNAUTHORIZED
from cloudia.gateway.connection import Connection, refuse
from cloudia.hosts import check_host, check_origin
from cloudia.ids import part_id
from cloudia.protocol import MAX_FRAME_BYTES, START, VERSION, Event, Hello
from cloudia.telemetry.events import ConnectionEnded, ConnectionOpened, GatewaySampled
from cloudia.telemetry.probes import serve_probes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from websockets.asyncio.server import ServerConnection
    from websockets.datastructures import Headers
    from websockets.http11 import Request, Response

    from cloudia.cloud.identity import Caller
    from cloudia.gateway.services import Services

__all__ = ["Gateway"]

_CLAIM_SECONDS = 30.0
_FIRST_BACKOFF, _LAST_BACKOFF = 0.1, 2.0
_CLOSE_SECONDS = 2.0


class Gateway:
    """One gateway process. `run` returns once it was stopped."""

    def __init__(self, services: Services, *, metrics: Callable[[], bytes] | None = None) -> None:
        self._to = services
        self._metrics = metrics
        """Makes what Prometheus reads, where it is to."""
        self._sockets: set[ServerConnection] = set()
        self._connections: dict[str, dict[str, Connection]] = {}
        """By session and id. A session has more than one only until Redis has told which of them was replaced."""
        self._subscribed = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Close all connections and return from `run`; clients resume at another node."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until stopped. `OSError` where the port is taken."""
        settings = self._to.settings
        states = {"/live": lambda: (HTTPStatus.OK, {"status": "live"}), "/ready": self._state}
        probes = serve_probes(settings.gateway_probe_host, settings.gateway_probe_port, states, metrics=self._metrics)
        async with (
            probes,
            serve(
                self._serve,
                settings.gateway_host,
                settings.gateway_port,
                process_request=self._answer_http,
                max_size=MAX_FRAME_BYTES,
                max_queue=4,
                open_timeout=settings.gateway_hello_seconds,
                ping_interval=settings.gateway_ping_seconds,
                ping_timeout=settings.gateway_ping_seconds,
                close_timeout=_CLOSE_SECONDS,
                compression=None,
                server_header=None,
            ) as server,
        ):
            port = next(iter(server.sockets)).getsockname()[1]
            telemetry.log("gateway started", node_id=self._to.node_id, port=port)
            tasks = [asyncio.create_task(work) for work in (self._listen(), self._claim(), self._beat())]
            stopped = asyncio.create_task(self._stopping.wait())
            done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in (stopped, *tasks):
                task.cancel()
            await asyncio.wait({stopped, *tasks})
            asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._abort)
            for task in done - {stopped}:
                task.result()
        with suppress(UnavailableError):
            await asyncio.to_thread(self._to.presence.leave, "gateway", self._to.node_id)
        await self._to.aclose()
        telemetry.log("gateway stopped")

    def _abort(self) -> None:
        """Break off who does not take part in the closing handshake: a reader that stands still would never get to it."""
        for socket in self._sockets:
            if socket.state is not State.CLOSED:
                socket.transport.abort()

    # --- connections -----------------------------------------------------------------------------------------------

    async def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer what is no WebSocket: a load balancer's probe. Refuse who may not ask, and connections beyond the limit."""
        settings, headers = self._to.settings, request.headers
        try:
            check_host(headers.get_all("Host"), settings.gateway_host)
            if request.path == "/health":
                return await self._health(connection, headers)
            origins = {origin.strip() for origin in settings.gateway_origins.split(",")} - {""}
            check_origin(headers.get_all("Origin"), headers.get_all("Host"), origins)
        except RequestError as error:
            return _json(connection, HTTPStatus(error.status), error.to_json())
        if len(self._sockets) >= settings.gateway_connections:
            full = UnavailableError("this gateway is full", hint="Try again.", code="too_many_connections")
            return _json(connection, HTTPStatus.SERVICE_UNAVAILABLE, full.to_json())
        return None

    async def _health(self, connection: ServerConnection, headers: Headers) -> Response:
        """Tell whether this node serves; who bears a token is told more."""
        status, told = self._state()
        with suppress(UnauthorizedError, UnavailableError):
            await asyncio.to_thread(self._to.identity.user, bearer(",".join(headers.get_all("Authorization"))))
            told |= {"connections": len(self._sockets), "version": __version__}
        return _json(connection, status, told)

    def _state(self) -> tuple[HTTPStatus, dict[str, Any]]:
        """Return whether this node serves."""
        if self._subscribed.is_set():
            return HTTPStatus.OK, {"status": "ok"}
        return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable"}

    async def _serve(self, socket: ServerConnection) -> None:
        self._sockets.add(socket)
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
        finally:
            self._sockets.discard(socket)

    @asynccontextmanager
    async def _opened(self, socket: ServerConnection) -> AsyncIterator[Connection]:
        """Do the hello, and hold the session's registration for as long as the connection lasts."""
        settings = self._to.settings
        async with asyncio.timeout(settings.gateway_hello_seconds):
            hello = Hello.decode(await socket.recv())
        try:
            async with asyncio.timeout(settings.gateway_hello_seconds):
                caller, session_id = await asyncio.to_thread(self._session, hello)
                await self._subscribed.wait()
        except TimeoutError as error:
            raise UnavailableError("the gateway cannot serve anybody now", hint="Try again.") from error
        async with self._registered(socket, hello, caller, session_id) as connection:
            yield connection

    @asynccontextmanager
    async def _registered(
        self, socket: ServerConnection, hello: Hello, caller: Caller, session_id: str
    ) -> AsyncIterator[Connection]:
        """Register a connection for as long as the block runs."""
        settings, to = self._to.settings, self._to
        last = hello.last_event_id
        resumed = await to.log.holds(session_id, last) if last and last != START else hello.session_id is not None
        connection = Connection(
            socket,
            held=Registration(session_id, part_id("con"), caller.user_id),
            after=last or START,
            expires_at=caller.expires_at,
            log=to.log,
            most_bytes=settings.gateway_send_bytes,
            stall_seconds=settings.gateway_ping_seconds,
            heartbeat_seconds=settings.gateway_heartbeat_seconds,
        )
        ready = {
            "session_id": session_id,
            "connection_id": connection.id,
            "resumed": resumed,
            "protocol": VERSION,
            "heartbeat_seconds": settings.gateway_heartbeat_seconds,
        }
        began = time.perf_counter()
        # Before it is registered, for from then on it can be replaced.
        self._connections.setdefault(session_id, {})[connection.id] = connection
        try:
            await to.sessions.register(connection.held, node_id=to.node_id)
            telemetry.notify(
                ConnectionOpened(
                    at=time.time(), connection_id=connection.id, resumed=resumed, connections=len(self._sockets)
                )
            )
            await socket.send(Event("ready", data=ready).encode())
            yield connection
        finally:
            del self._connections[session_id][connection.id]
            if not self._connections[session_id]:
                del self._connections[session_id]
            telemetry.notify(
                ConnectionEnded(
                    at=time.time(),
                    seconds=time.perf_counter() - began,
                    connection_id=connection.id,
                    code=socket.close_code,
                    connections=len(self._sockets) - 1,
                )
            )
            with suppress(UnavailableError):  # The registration expires by itself.
                await to.sessions.unregister(connection.held)

    def _session(self, hello: Hello) -> tuple[Caller, str]:
        """Return the caller of a hello and its session: the one it names if it is the caller's, else a new one."""
        caller = self._to.identity.caller(hello.token)
        if hello.session_id is None:
            return caller, self._to.identity.new_session(caller.user_id)
        self._to.identity.check_session(hello.session_id, caller.user_id)
        return caller, hello.session_id

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
                    async for notice in self._to.sessions.notices(self._to.node_id, subscribed=self._subscribed):
                        backoff = _FIRST_BACKOFF
                        connections = self._connections.get(notice.session_id, {})
                        if isinstance(notice, Published):
                            for connection in connections.values():
                                connection.publish(notice)
                        elif notice.connection_id in connections:
                            connections[notice.connection_id].replace()
                finally:
                    healing.cancel()
            except UnavailableError as error:
                if backoff == _FIRST_BACKOFF:
                    telemetry.log(
                        "Redis is away", level=logging.WARNING, code=error.code, reason=error.message, hint=error.hint
                    )
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _LAST_BACKOFF)

    async def _heal(self) -> None:
        """Once subscribed, register what is connected and read what was published meanwhile."""
        await self._subscribed.wait()
        telemetry.log("subscribed", connections=len(self._sockets))
        await self._claim_all()
        for connections in self._connections.values():
            for connection in connections.values():
                connection.miss()

    async def _claim(self) -> None:
        while True:
            await asyncio.sleep(_CLAIM_SECONDS)
            await self._claim_all()

    async def _claim_all(self) -> None:
        # The newest of a session first: where Redis has forgotten all, it is the one that stays.
        held = [found[name].held for found in self._connections.values() for name in reversed(found)]
        with suppress(UnavailableError):  # `_listen` says so, and heals when Redis is back.
            for lost in await self._to.sessions.claim(held, node_id=self._to.node_id):
                connection = self._connections.get(lost.session_id, {}).get(lost.connection_id)
                if connection:
                    connection.replace()

    async def _beat(self) -> None:
        """Say that this node is alive, from its first subscription on."""
        await self._subscribed.wait()
        while True:
            pause = BEAT_SECONDS
            if telemetry.listening():
                telemetry.notify(GatewaySampled(at=time.time(), connections=len(self._sockets)))
            try:
                await asyncio.to_thread(
                    self._to.presence.beat,
                    "gateway",
                    self._to.node_id,
                    version=__version__,
                    pid=os.getpid(),
                    connections=len(self._sockets),
                )
            except UnavailableError:
                pause = _LAST_BACKOFF / 8
            await asyncio.sleep(pause)


def _json(connection: ServerConnection, status: HTTPStatus, body: dict[str, Any]) -> Response:
    response = connection.respond(status, json.dumps(body))
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response
