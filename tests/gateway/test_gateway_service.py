"""The gateway as a process: its health, its limits, its end, and whom it lets in."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cloudia import __version__
from cloudia.protocol import Hello
from tests.gateway.nodes import Node, append, frames_until, greet, next_frame, opened, running, said_no, texts
from tests.gateway.test_gateway_slow_readers import narrow
from tests.patience import HANGS
from tests.support import Cloud, child, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from cloudia.cloud.events import EventLog


async def test_health_says_how_many_are_connected(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """200 with the number of WebSockets and the version, as JSON; without a token that it serves, and no more."""
    known = {"status": "ok", "version": __version__}
    async with running(shared_cloud, tmp_path / "gateway.log") as node:
        assert await asyncio.to_thread(node.health) == (200, {**known, "connections": 0})
        for stranger in ({}, {"authorization": "Bearer x.y.z"}):
            assert await asyncio.to_thread(node.get, "/health", **stranger) == (200, {"status": "ok"})
        async with opened(node) as socket:
            await greet(socket, token)
            assert await asyncio.to_thread(node.health) == (200, {**known, "connections": 1})
        await eventually(lambda: asyncio.to_thread(lambda: node.health()[1]["connections"] == 0))


async def test_what_is_no_websocket_is_told_so(node: Node) -> None:
    """A browser that opens the gateway's address gets an answer, not a hang-up."""
    status, _ = await asyncio.to_thread(node.get, "/")
    assert status == 426


async def test_sigterm_closes_the_connections_and_exits(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """1001, "going away", for all: clients that said hello, and those that did not yet. Exit 0 within 5 s."""
    async with (
        running(shared_cloud, tmp_path / "gateway.log") as node,
        opened(node) as one,
        opened(node) as two,
        opened(node) as silent,
    ):
        for socket in (one, two):
            await greet(socket, token)
        began = time.monotonic()
        node.terminate()
        for socket in (one, two, silent):
            assert await said_no(socket) == (1001, None)
        assert await asyncio.wait_for(node.process.wait(), HANGS) == 0
        assert time.monotonic() - began < 5
    assert node.events("gateway stopped")
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await opened(node).__aenter__()


async def test_sigterm_does_not_wait_for_a_reader_that_stands_still(
    shared_cloud: Cloud, token: str, log: EventLog, tmp_path: Path
) -> None:
    """Whoever reads nothing will not take part in a closing handshake either: still exit 0 within 5 s."""
    async with running(shared_cloud, tmp_path / "gateway.log") as node, narrow(node) as socket:
        session = (await greet(socket, token))["session_id"]
        await append(log, session, ["x" * 6000] * 1000)
        async with opened(node) as other:
            later = (await greet(other, token))["session_id"]
            ids = await append(log, later, ["the gateway has had its chance to send"])
            await frames_until(other, ids[0])
        node.terminate()
        assert await asyncio.wait_for(node.process.wait(), HANGS) == 0
        socket.transport.abort()


async def test_sigterm_twice_is_once(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """An impatient supervisor changes nothing."""
    async with running(shared_cloud, tmp_path / "gateway.log") as node, opened(node) as socket:
        await greet(socket, token)
        for _ in range(2):
            node.terminate()
        assert await asyncio.wait_for(node.process.wait(), HANGS) == 0


async def test_a_port_that_is_taken_is_said(shared_cloud: Cloud, node: Node, tmp_path: Path) -> None:
    """One line in the log, with the code `port_taken`, and exit 1; no traceback."""
    environment = {**shared_cloud.environment(), "CLOUDIA_GATEWAY_PORT": str(node.port)}
    async with child("cloudia.gateway", environment, tmp_path / "gateway.log") as process:
        assert await asyncio.wait_for(process.wait(), HANGS) == 1
    failed = json.loads((tmp_path / "gateway.log").read_text().splitlines()[-1])
    assert failed["event"] == "gateway failed"
    assert failed["code"] == "port_taken"


async def test_a_gateway_without_redis_in_its_settings_says_so(shared_cloud: Cloud, tmp_path: Path) -> None:
    """There is no gateway without Redis: exit 1, and a hint."""
    environment = {name: value for name, value in shared_cloud.environment().items() if "REDIS" not in name}
    async with child("cloudia.gateway", environment, tmp_path / "gateway.log") as process:
        assert await asyncio.wait_for(process.wait(), HANGS) == 1
    failed = json.loads((tmp_path / "gateway.log").read_text().splitlines()[-1])
    assert failed["code"] == "no_redis"
    assert failed["hint"]


async def test_origins_that_are_not_listed_are_refused(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """403 for a page of somebody else's; a listed one, and a client that is no browser, come in."""
    origins = "https://chat.example, http://127.0.0.1:8000"
    async with running(shared_cloud, tmp_path / "gateway.log", CLOUDIA_GATEWAY_ORIGINS=origins) as node:
        for origin in ("https://chat.example", "http://127.0.0.1:8000", None):
            async with opened(node, origin=origin) as socket:
                await greet(socket, token)
        for origin in ("https://evil.example", "https://chat.example.evil.example", "http://chat.example", "null", ""):
            with pytest.raises(InvalidStatus) as refused:
                await opened(node, origin=origin).__aenter__()
            assert refused.value.response.status_code == 403
    assert "Traceback" not in node.log.read_text()


async def test_i7_beyond_the_limit_connections_are_refused(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """503 with an error as JSON, also where those before have not said hello: nobody fills a gateway with silence.

    The probe of a load balancer is answered all the same, and who leaves makes room.
    """
    async with running(shared_cloud, tmp_path / "gateway.log", CLOUDIA_GATEWAY_CONNECTIONS="2") as node:
        async with opened(node) as one, opened(node):
            await greet(one, token)
            with pytest.raises(InvalidStatus) as refused:
                await opened(node).__aenter__()
            response = refused.value.response
            assert response.status_code == 503
            assert response.headers["content-type"] == "application/json"
            error = json.loads(response.body or b"")["error"]
            assert error["code"] == "too_many_connections"
            assert error["message"]
            assert error["hint"]
            assert (await asyncio.to_thread(node.health))[0] == 200
        await eventually(lambda: asyncio.to_thread(lambda: node.health()[1]["connections"] == 0))
        async with opened(node) as socket:
            await greet(socket, token)


async def test_i5_two_hundred_at_once_each_hear_their_own(node: Node, shared_cloud: Cloud, log: EventLog) -> None:
    """All are served by one gateway at the same time, each gets its own events and nobody else's."""
    users = [f"user{number}" for number in range(200)]
    sockets = await asyncio.gather(*[opened(node).__aenter__() for _ in users])
    tokens = [shared_cloud.token(user) for user in users]
    readies = await asyncio.gather(*[greet(*pair) for pair in zip(sockets, tokens, strict=True)])
    sessions = [ready["session_id"] for ready in readies]
    assert len(set(sessions)) == len(users)

    async def tell(user: str, session: str) -> str:
        return (await append(log, session, [f"{number} for {user}" for number in range(5)]))[-1]

    last = await asyncio.gather(*[tell(*pair) for pair in zip(users, sessions, strict=True)])
    heard = await asyncio.gather(*[frames_until(*pair) for pair in zip(sockets, last, strict=True)])
    for user, frames in zip(users, heard, strict=True):
        assert texts(frames) == [f"{number} for {user}" for number in range(5)]
    await asyncio.gather(*[socket.close() for socket in sockets])
    await eventually(lambda: asyncio.to_thread(lambda: node.health()[1]["connections"] == 0))


async def test_a_client_that_is_gone_is_forgotten(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """A connection whose other end answers no ping is closed, though nothing says that it broke."""
    async with (
        running(shared_cloud, tmp_path / "gateway.log", CLOUDIA_GATEWAY_PING_SECONDS="0.3") as node,
        opened(node) as socket,
    ):
        await greet(socket, token)
        socket.transport.pause_reading()
        await eventually(lambda: node.events("disconnected"))
        await eventually(lambda: asyncio.to_thread(lambda: node.health()[1]["connections"] == 0))
        socket.transport.resume_reading()
        with pytest.raises(ConnectionClosed):
            await next_frame(socket)


async def test_a_user_has_no_more_sessions_than_may_be(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """The third is told why and closed with 1013, at whatever node; one that comes again and another user are let in."""
    limit = {"CLOUDIA_LIMITS_CONNECTIONS_PER_USER": "2"}
    async with (
        running(shared_cloud, tmp_path / "near.log", **limit) as near,
        running(shared_cloud, tmp_path / "far.log", **limit) as far,
    ):
        async with opened(near) as first, opened(far) as second, opened(far) as again, opened(near) as other:
            session = (await greet(first, token))["session_id"]
            await greet(second, token)
            for node in (near, far):
                async with opened(node) as third:
                    await third.send(Hello(token).encode())
                    code, refusal = await said_no(third)
                    assert refusal
                    assert (code, refusal["code"]) == (1013, "too_many_connections")
            assert (await greet(again, token, session_id=session))["session_id"] == session
            await greet(other, shared_cloud.token("somebody else"))
        nodes = (near, far)
        await eventually(lambda: asyncio.to_thread(lambda: all(not node.health()[1]["connections"] for node in nodes)))
        async with opened(near) as late:
            await greet(late, token)
