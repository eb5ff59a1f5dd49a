"""An HTTP server in the test's own process: it answers with bytes that the test chooses, and ends as the test says."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

End: TypeAlias = Literal["wait", "close", "reset"]
"""How a connection goes on after an answer: wait for the next request, say that all is sent, or break off."""


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    line: str
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: Any
    raw: bytes = b""
    """The body as it came."""


class Server:
    """Answers each request with `answer`, its parts one by one, then does as `end` says."""

    def __init__(self) -> None:
        self.answer: Sequence[bytes] = ()
        self.end: End = "wait"
        self.requests: list[Request] = []
        self.connections = 0
        self.left = asyncio.Event()
        """Set when a client has closed its connection."""
        self.url = ""
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to serve a connection."""
        self.connections += 1
        self._open[writer] = asyncio.create_task(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _request(reader):
                self.requests.append(request)
                for part in self.answer:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)  # The client is in the same loop: it reads each part by itself.
                    await asyncio.sleep(0)
                if self.end == "reset":
                    _reset(writer)
                if self.end != "wait":
                    return
            self.left.set()
        except ConnectionError:
            self.left.set()
        finally:
            del self._open[writer]
            writer.close()

    async def close(self) -> None:
        """Break off whatever is open still."""
        serving = list(self._open.values())
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*serving)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off by a reset; what was sent and not read yet is lost."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _request(reader: asyncio.StreamReader) -> Request | None:
    """Read one request; None where the client has closed."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *fields = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(line, headers, json.loads(body) if body else None, body)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """Serve on loopback until the block ends."""
    server = Server()
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await server.close()
        await listener.wait_closed()


def answer(
    *parts: bytes, status: int = 200, headers: Mapping[str, str] | None = None, content_type: str = "text/event-stream"
) -> list[bytes]:
    """Return a whole answer, its body in these parts (chunked transfer coding, RFC 9112, 7.1)."""
    fields = {"content-type": content_type, "transfer-encoding": "chunked", **(headers or {})}
    head = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return [head.encode() + b"\r\n", *(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part), b"0\r\n\r\n"]


def events(*values: Mapping[str, Any]) -> bytes:
    """Return server-sent events, named by their `type` where they have one."""
    return b"".join(
        (f"event: {value['type']}\n" if "type" in value else "").encode()
        + b"data: "
        + json.dumps(value, ensure_ascii=False).encode()
        + b"\n\n"
        for value in values
    )
