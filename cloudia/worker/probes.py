"""Probes for a container's orchestrator: `/live` while polls finish, `/ready` from the first one until the worker stops.

Neither while AWS refuses the worker something.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from cloudia.errors import RequestError
from cloudia.hosts import check_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

__all__ = ["serve_probes"]

_SECONDS = 5.0
_MAX_LINE = 4096


@asynccontextmanager
async def serve_probes(
    host: str,
    port: int,
    *,
    poll_age: Callable[[], float | None],
    refused: Callable[[], Mapping[str, str]],
    stale: float,
) -> AsyncIterator[None]:
    """Answer probes while the block runs; not at all where `port` is 0. `OSError` where the port is taken.

    Where `host` is loopback they are asked by its names. `poll_age` returns the seconds since the last finished poll, None
    before the first and while the worker stops; `/live` fails once it is over `stale`, and
    while `refused` returns reasons, by what the worker was doing: they are in the answer.
    """
    if not port:
        yield
        return

    def answer(head: str) -> tuple[int, str]:
        asked, *headers = head.split("\r\n")
        path = asked.split(" ", 2)[1]
        named = [
            value.strip() for name, _, value in (line.partition(":") for line in headers) if name.lower() == "host"
        ]
        try:
            check_host(named, host)
        except RequestError as error:
            return error.status, error.code
        age = poll_age()
        hangs = age is not None and age > stale
        if path in {"/live", "/ready"} and refused():
            return 503, "refused"
        if path == "/live":
            return (503, "stale") if hangs else (200, "live")
        if path == "/ready":
            return (503, "not ready") if hangs or age is None else (200, "ready")
        return 404, "not found"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status, state = answer(head)
                body = json.dumps({"status": state, "poll_age": poll_age(), "refused": dict(refused())})
                writer.write(
                    f"HTTP/1.1 {status} {state}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
                    f"connection: close\r\n\r\n{body}".encode()
                )
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, host, port, limit=_MAX_LINE):
        yield
