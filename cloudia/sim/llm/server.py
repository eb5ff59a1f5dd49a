"""The server under the application: it says where it listens, lends each request its connection, and stops at once."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cloudia.errors import PartError
from cloudia.sim.llm.line import CONNECTION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp

__all__ = ["Server", "listen"]

_BACKLOG = 2_048  # connections that wait to be accepted
_STOP_SECONDS = 1  # for requests to notice that their connections are closed
_KEEP_ALIVE_SECONDS = 75  # longer than the SDKs keep an idle connection, so that none is closed under a new request


class _Silent:
    """A transport on which an answer's own bytes go nowhere; the rest of it is there."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(H11Protocol):
    """HTTP/1.1 whose requests reach what ASGI has no word for: see `line.Connection`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, CONNECTION: self}

    def close(self) -> None:
        self.transport.close()

    def reset(self) -> None:
        connection: socket.socket = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def mute(self) -> None:
        # A request's cycle writes by its own reference, so the next one on this connection is heard again.
        self.cycle.transport = cast("asyncio.Transport", _Silent(self.transport))

    def put(self, raw: bytes) -> None:
        self.transport.write(raw)


class Server(uvicorn.Server):
    """Serves `app` on `listener` until SIGTERM or SIGINT, and then does not wait for answers to end.

    `say` is told `{"event": "listening", "host", "port", "url"}` once it listens.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, say: Callable[[Mapping[str, Any]], object]) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        super().__init__(config)
        self._listener = listener
        self._say = say

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say where."""
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._say({"event": "listening", "host": host, "port": port, "url": url})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection, then stop as usual, which now has nothing to wait for."""
        for connection in list(self.server_state.connections):
            cast("H11Protocol", connection).transport.abort()
        await asyncio.sleep(0)  # for the connections to hear of it
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket listening on `host` and `port`; 0 takes a free one. Raises PartError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)  # now, because only this finds out that the port is taken
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise PartError(
            f"the simulated provider cannot listen on {host}:{port}: {error}",
            hint="name another port, or 0 for a free one",
        ) from error
    return listener
