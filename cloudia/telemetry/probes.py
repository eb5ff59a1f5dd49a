"""A small HTTP server for who watches a process: probes of an orchestrator, and Prometheus. It has no other callers.

Where it listens on loopback it is asked by loopback's names only; elsewhere whoever reaches its port may ask, so that is for a
network that clients are not in.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from cloudia.errors import RequestError
from cloudia.hosts import check_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

__all__ = ["serve_probes"]

_SECONDS = 5.0
_MAX_LINE = 4096
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""https://prometheus.io/docs/instrumenting/exposition_formats/"""


@asynccontextmanager
async def serve_probes(
    host: str,
    port: int,
    states: Mapping[str, Callable[[], tuple[int, Mapping[str, Any]]]],
    *,
    metrics: Callable[[], bytes] | None = None,
) -> AsyncIterator[None]:
    """Answer while the block runs; not at all where `port` is 0. `OSError` where the port is taken.

    `states` says by path what is answered: a status, and a body whose `status` is the reason. `metrics` makes the text of
    `/metrics`, on a thread; where it is None there is none.
    """
    if not port:
        yield
        return

    async def answer(head: str) -> tuple[int, str, str, bytes]:
        asked, *headers = head.split("\r\n")
        path = asked.split(" ", 2)[1].partition("?")[0]
        named = [
            value.strip() for name, _, value in (line.partition(":") for line in headers) if name.lower() == "host"
        ]
        try:
            check_host(named, host)
        except RequestError as error:
            return _json(error.status, {"status": error.code})
        if path == "/metrics" and metrics:
            return 200, "ok", _TEXT, await asyncio.to_thread(metrics)
        state = states.get(path)
        return _json(*state()) if state else _json(404, {"status": "not found"})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(
            OSError, TimeoutError, ValueError, IndexError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status, reason, kind, body = await answer(head)
                writer.write(
                    f"HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
                    f"connection: close\r\n\r\n".encode()
                )
                writer.write(body)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, host, port, limit=_MAX_LINE):
        yield


def _json(status: int, body: Mapping[str, Any]) -> tuple[int, str, str, bytes]:
    return status, str(body["status"]), "application/json", json.dumps(body).encode()
