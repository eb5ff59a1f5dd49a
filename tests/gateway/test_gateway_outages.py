"""Redis goes and comes back while clients are connected."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cloudia.cloud.redis import Keys, connect
from cloudia.protocol import Hello
from tests.gateway.lines import OwnRedis, own_redis
from tests.gateway.nodes import (
    Node,
    append,
    frames_until,
    greet,
    log_of,
    next_frame,
    opened,
    running,
    said_no,
    texts,
)
from tests.patience import HANGS
from tests.support import Cloud, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloudia.cloud.events import EventLog


@asynccontextmanager
async def _alone(cloud: Cloud, folder: Path, **environment: str) -> AsyncIterator[tuple[OwnRedis, Node, EventLog]]:
    """Run a gateway that has a Redis of its own."""
    async with (
        own_redis(folder) as server,
        running(
            cloud, folder / "gateway.log", REDIS_URL=server.url, CLOUDIA_REDIS_URL=server.url, **environment
        ) as node,
        log_of(cloud.settings, url=server.url) as log,
    ):
        yield server, node, log


async def test_connections_survive_a_redis_that_was_killed(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """Redis dies and comes back empty: `/health` says so meanwhile, the connections stay, and hear what follows."""
    async with _alone(shared_cloud, tmp_path) as (server, node, log), opened(node) as one, opened(node) as two:
        sessions = [(await greet(socket, token))["session_id"] for socket in (one, two)]
        for socket, session in zip((one, two), sessions, strict=True):
            ids = await append(log, session, ["before"])
            assert texts(await frames_until(socket, ids[0])) == ["before"]
        server.kill()
        await node.ready(status=503)
        await server.start()
        await node.ready()
        for socket, session in zip((one, two), sessions, strict=True):
            ids = await append(log, session, ["after", "that"])
            assert texts(await frames_until(socket, ids[-1])) == ["after", "that"]


async def test_what_was_logged_before_the_gateway_was_back_is_heard(
    shared_cloud: Cloud, token: str, tmp_path: Path
) -> None:
    """A worker may find Redis before the gateway does: what it logs meanwhile is published to nobody, and not lost."""
    async with _alone(shared_cloud, tmp_path) as (server, node, log), opened(node) as socket:
        session = (await greet(socket, token))["session_id"]
        server.kill()
        await node.ready(status=503)
        await server.start()
        ids = await append(log, session, ["early"])
        assert texts(await frames_until(socket, ids[0])) == ["early"]


async def test_i4_a_redis_that_stands_still_loses_nothing(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """Two seconds without an answer from Redis: what was logged before, was underway, or follows arrives.

    Each event once and in order, on the same connection.
    """
    async with _alone(shared_cloud, tmp_path) as (server, node, log), opened(node) as socket:
        session = (await greet(socket, token))["session_id"]
        ids = await append(log, session, ["a"])
        server.pause()
        underway = asyncio.create_task(append(log, session, ["b", "c"]))
        await asyncio.sleep(2.2)  # It is the time that matters here: longer than a reply is waited for.
        assert not underway.done()
        server.go_on()
        ids += await underway
        ids += await append(log, session, ["d"])
        seen = await frames_until(socket, ids[-1])
    assert [frame["id"] for frame in seen] == ids
    assert texts(seen) == ["a", "b", "c", "d"]


async def test_a_hello_without_redis_is_to_be_tried_again(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """Nothing is wrong with a hello that cannot be served now: 1013, and an error that says what is away."""
    async with _alone(shared_cloud, tmp_path, CLOUDIA_GATEWAY_HELLO_SECONDS="0.5") as (server, node, _):
        server.kill()
        await node.ready(status=503)
        async with opened(node) as socket:
            await socket.send(Hello(token).encode())
            code, error = await said_no(socket)
        assert code == 1013
        assert error is not None
        assert error["code"] == "unavailable"
        assert error["hint"]
        await server.start()
        await node.ready()
        async with opened(node) as socket:
            await greet(socket, token)


async def test_a_hello_waits_for_a_redis_that_comes_back(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """Within the time for a hello, Redis may come back and nobody has to try again."""
    async with _alone(shared_cloud, tmp_path, CLOUDIA_GATEWAY_HELLO_SECONDS="10") as (server, node, _):
        server.kill()
        await node.ready(status=503)
        async with opened(node) as socket:
            greeting = asyncio.create_task(greet(socket, token))
            await server.start()
            assert (await greeting)["resumed"] is False


async def test_three_hundred_connections_heal_at_once(shared_cloud: Cloud, token: str, tmp_path: Path) -> None:
    """When Redis is back, all connections are registered again and read what they missed, within seconds."""
    async with _alone(shared_cloud, tmp_path) as (server, node, log):
        sockets = await asyncio.gather(*[opened(node).__aenter__() for _ in range(300)])
        readies = await asyncio.gather(*[greet(socket, token) for socket in sockets])
        sessions = [ready["session_id"] for ready in readies]
        server.kill()
        await node.ready(status=503)
        await server.start()
        expected = [await append(log, session, [session]) for session in sessions]
        async with asyncio.timeout(HANGS):
            heard = await asyncio.gather(*[next_frame(socket) for socket in sockets])
        assert [frame["text"] for frame in heard] == sessions
        assert [[frame["id"]] for frame in heard] == expected
        client = connect(server.url)
        keys = [Keys(shared_cloud.stack.name).connection(session) for session in sessions]

        async def registered() -> bool:
            return int(await client.exists(*keys)) == len(keys)

        await eventually(registered)
        await client.aclose()
        await asyncio.gather(*[socket.close() for socket in sockets])
    assert not [line for line in node.log.read_text().splitlines() if '"level":"error"' in line]
