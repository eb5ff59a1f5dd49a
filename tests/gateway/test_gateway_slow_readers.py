"""A client that reads too slowly costs the gateway next to nothing, and loses nothing."""

from __future__ import annotations

import contextlib
import socket as sockets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psutil
from websockets.exceptions import ConnectionClosed

from cloudia.cloud.events import EventLog
from cloudia.sim.ports import LOOPBACK
from tests.gateway.nodes import Node, append, frames_until, greet, next_frame, opened, running, texts
from tests.support import Cloud, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

_TEXT = "x" * 6_000


@asynccontextmanager
async def narrow(node: Node) -> AsyncIterator[ClientConnection]:
    """Open a WebSocket that holds a few kilobytes, and takes no more from the network until it is read."""
    with sockets.socket() as raw:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        raw.connect((LOOPBACK, node.port))
        raw.setblocking(False)
        async with opened(node, sock=raw, max_queue=1) as socket:
            yield socket


def _resident(node: Node) -> int:
    resident: int = psutil.Process(node.process.pid).memory_info().rss
    return resident


async def test_i4_a_reader_that_stands_still_is_dropped_and_resumes(
    shared_cloud: Cloud, token: str, log: EventLog, tmp_path: Path
) -> None:
    """Who takes nothing for the stall time is disconnected; the 36 MB that wait for it are not kept in memory.

    A new connection goes on where the old one was.
    """
    async with running(shared_cloud, tmp_path / "gateway.log", CLOUDIA_GATEWAY_PING_SECONDS="1") as node:
        async with narrow(node) as socket:
            session = (await greet(socket, token))["session_id"]
            before = _resident(node)
            ids = await append(log, session, [f"{number} {_TEXT}" for number in range(6000)])
            await eventually(lambda: node.events("disconnected"))
            assert _resident(node) - before < 12_000_000
            seen = []
            with contextlib.suppress(ConnectionClosed):
                while True:
                    seen.append(await next_frame(socket))
        assert 0 < len(seen) < 1000
        async with opened(node) as socket:
            assert (await greet(socket, token, session, seen[-1]["id"]))["resumed"] is True
            seen += await frames_until(socket, ids[-1])
    assert [frame["id"] for frame in seen] == ids


async def test_i4_a_reader_that_pauses_gets_the_rest_from_the_log(
    nodes: tuple[Node, Node], token: str, log: EventLog
) -> None:
    """What piled up beyond the gateway's bound while a client paused comes from the log, on the same connection.

    Then comes what is new.
    """
    async with narrow(nodes[0]) as socket:
        session = (await greet(socket, token))["session_id"]
        ids = await append(log, session, [f"{number} {_TEXT}" for number in range(500)])
        seen = await frames_until(socket, ids[100])
        ids += await append(log, session, [f"{number} {_TEXT}" for number in range(500, 600)])
        seen += await frames_until(socket, ids[-1])
        ids += await append(log, session, ["end"])
        seen += await frames_until(socket, ids[-1])
    assert [frame["id"] for frame in seen] == ids
    assert [text.partition(" ")[0] for text in texts(seen)] == [*map(str, range(600)), "end"]


async def test_a_slow_reader_holds_up_nobody_else(nodes: tuple[Node, Node], token: str, log: EventLog) -> None:
    """While one client does not read, another of the same gateway hears each event as it comes."""
    async with narrow(nodes[0]) as slow, opened(nodes[0]) as quick:
        stuck = (await greet(slow, token))["session_id"]
        session = (await greet(quick, token))["session_id"]
        await append(log, stuck, [_TEXT] * 300)
        ids = await append(log, session, [str(number) for number in range(50)])
        assert texts(await frames_until(quick, ids[-1])) == [str(number) for number in range(50)]
        slow.transport.abort()
