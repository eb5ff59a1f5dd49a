"""A session has one connection: the newest, at whichever gateway."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from cloudia.cloud.redis import Keys, connect
from tests.gateway.nodes import Node, append, frames_until, greet, next_frame, opened, running, said_no, texts
from tests.support import Cloud, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

    from cloudia.cloud.events import EventLog


@pytest.mark.parametrize("across", [False, True], ids=["same gateway", "other gateway"])
async def test_the_newest_connection_has_the_session(
    nodes: tuple[Node, Node], token: str, log: EventLog, across: bool
) -> None:
    """The older one is closed with 4409 and hears nothing more; the newer one hears it all."""
    async with opened(nodes[0]) as older, opened(nodes[across]) as newer:
        session = (await greet(older, token))["session_id"]
        ids = await append(log, session, ["a"])
        assert texts(await frames_until(older, ids[0])) == ["a"]
        assert (await greet(newer, token, session, ids[0]))["resumed"] is True
        assert await said_no(older) == (4409, None)
        ids = await append(log, session, ["b"])
        assert texts(await frames_until(newer, ids[0])) == ["b"]


async def test_the_end_of_the_older_leaves_the_newer_registered(
    nodes: tuple[Node, Node], token: str, log: EventLog, shared_cloud: Cloud
) -> None:
    """What a gateway forgets of a connection that ended is that one's registration alone; the last one's goes too."""
    client = connect(shared_cloud.settings.redis_url)
    async with opened(nodes[0]) as older, opened(nodes[1]) as newer:
        session = (await greet(older, token))["session_id"]
        key = Keys(shared_cloud.stack.name).connection(session)
        connection = (await greet(newer, token, session))["connection_id"]
        await said_no(older)
        await older.wait_closed()
        assert await client.hget(key, "connection") == connection

    async def gone() -> bool:
        return not await client.exists(key)

    await eventually(gone)
    await client.aclose()


async def test_i4_a_client_that_is_cut_and_goes_to_the_other_gateway_sees_the_whole(
    nodes: tuple[Node, Node], token: str, log: EventLog
) -> None:
    """While an answer streams, its reader is cut off again and again, and goes to the other gateway each time.

    Nothing is missing, nothing comes twice, all is in order.
    """
    chance = random.Random(4)
    pieces = [f"{number} " for number in range(400)]
    logged: list[str] = []

    async def answer(session: str) -> None:
        place = 0
        while place < len(pieces):
            size = chance.randrange(1, 4)
            logged.extend(await append(log, session, pieces[place : place + size]))
            place += size
            await asyncio.sleep(0.002)

    async with opened(nodes[1]) as socket:
        session = (await greet(socket, token))["session_id"]
    writing = asyncio.create_task(answer(session))
    seen: list[str] = []
    heard: list[str] = []
    turn = 0
    while len(heard) < len(pieces):
        async with opened(nodes[turn % 2]) as socket:
            await greet(socket, token, session, seen[-1] if seen else None)
            for _ in range(min(chance.randrange(1, 50), len(pieces) - len(heard))):
                frame = await next_frame(socket)
                seen.append(frame["id"])
                heard.append(frame["text"])
            socket.transport.abort()
        turn += 1
    await writing
    assert turn >= 8
    assert seen == logged
    assert "".join(heard) == "".join(pieces)


async def test_of_many_at_once_one_keeps_the_session(nodes: tuple[Node, Node], token: str, log: EventLog) -> None:
    """However many connections claim a session at the same moment, at two gateways: one is left.

    It hears what follows. The others are closed with 4409.
    """
    async with opened(nodes[0]) as socket:
        session = (await greet(socket, token))["session_id"]
    for _ in range(5):
        sockets = await asyncio.gather(*[opened(nodes[number % 2]).__aenter__() for number in range(12)])
        try:
            await asyncio.gather(*[_greet_if_left(socket, token, session) for socket in sockets])
            left = await eventually(lambda: _the_one_left(sockets))  # noqa: B023 - awaited before the next turn
            (event_id,) = await append(log, session, ["for the one"])
            await frames_until(left, event_id)
            codes = [socket.close_code for socket in sockets if socket is not left]
            assert codes == [4409] * (len(sockets) - 1)
        finally:
            await asyncio.gather(*[socket.close() for socket in sockets])


async def _greet_if_left(socket: ClientConnection, token: str, session: str) -> None:
    with contextlib.suppress(ConnectionClosed):
        await greet(socket, token, session)


def _the_one_left(sockets: list[ClientConnection]) -> ClientConnection | None:
    left = [socket for socket in sockets if socket.close_code is None]
    assert left, "both sides of a race were closed"
    return left[0] if len(left) == 1 else None


async def test_a_gateway_that_died_holds_nobody_up(
    shared_cloud: Cloud, node: Node, token: str, log: EventLog, tmp_path: Path
) -> None:
    """A registration that a killed gateway left behind gives way to the next connection."""
    async with running(shared_cloud, tmp_path / "gateway.log") as doomed, opened(doomed) as socket:
        session = (await greet(socket, token))["session_id"]
        ids = await append(log, session, ["a", "b"])
        await frames_until(socket, ids[0])
        doomed.process.kill()
        await doomed.process.wait()
        ids += await append(log, session, ["c"])
        async with opened(node) as after:
            assert (await greet(after, token, session, ids[0]))["resumed"] is True
            assert texts(await frames_until(after, ids[-1])) == ["b", "c"]
