"""The registry of sessions on a real Redis: one connection a session, and who is told what."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, cast

import pytest

from cloudia.cloud.events import EventLog, Frame
from cloudia.cloud.redis import Keys, Redis, connect
from cloudia.cloud.sessions import Notice, Published, Registration, Replaced, Sessions
from cloudia.errors import UnavailableError
from cloudia.protocol import Event
from tests.cloud.listening import listening
from tests.gateway.lines import line
from tests.patience import HANGS
from tests.support import RunningStack, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

_SESSION = "ses_a.b"


def _held(session_id: str, connection_id: str, user_id: str = "alice") -> Registration:
    return Registration(session_id, connection_id, user_id)


@pytest.fixture
def name() -> str:
    """A stack name that no other test uses."""
    return f"reg{secrets.token_hex(4)}"


@pytest.fixture
def sessions(redis: Redis, name: str) -> Sessions:
    """A registry of the test's own."""
    return Sessions(redis, name)


def _listening(url: str, name: str, node_id: str) -> AbstractAsyncContextManager[list[Notice]]:
    """Collect what is published for a node."""
    return listening(url, lambda client, subscribed: Sessions(client, name).notices(node_id, subscribed=subscribed))


async def _registered(redis: Redis, name: str) -> dict[str, str]:
    return cast("dict[str, str]", await redis.hgetall(Keys(name).connection(_SESSION)))


async def _next(notices: AsyncIterator[Notice]) -> Notice:
    return await anext(notices)


async def test_a_registration_names_node_and_connection_and_expires(
    sessions: Sessions, redis: Redis, name: str
) -> None:
    """A session that is registered is found with its node, for 90 s."""
    await sessions.register(_held(_SESSION, "c1"), node_id="n1")
    assert await _registered(redis, name) == {"node": "n1", "connection": "c1"}
    assert 85 <= await redis.ttl(Keys(name).connection(_SESSION)) <= 90


async def test_a_newer_connection_replaces_the_one_before(
    sessions: Sessions, redis: Redis, name: str, stack: RunningStack
) -> None:
    """The node of the older connection is told once which one was replaced; the newer one's is told nothing."""
    async with (
        _listening(stack.settings.redis_url, name, "n1") as first,
        _listening(stack.settings.redis_url, name, "n2") as second,
    ):
        await sessions.register(_held(_SESSION, "c1"), node_id="n1")
        await sessions.register(_held(_SESSION, "c1"), node_id="n1")
        await sessions.register(_held(_SESSION, "c2"), node_id="n2")
        await sessions.register(_held(_SESSION, "c3"), node_id="n2")
        await eventually(lambda: first and second)
        assert first == [Replaced(_SESSION, "c1")]
        assert second == [Replaced(_SESSION, "c2")]
    assert await _registered(redis, name) == {"node": "n2", "connection": "c3"}


async def test_unregister_leaves_a_newer_connection_alone(sessions: Sessions, redis: Redis, name: str) -> None:
    """A connection that ends late does not take away the registration of the one that replaced it."""
    await sessions.register(_held(_SESSION, "c1"), node_id="n1")
    await sessions.register(_held(_SESSION, "c2"), node_id="n2")
    await sessions.unregister(_held(_SESSION, "c1"))
    assert await _registered(redis, name) == {"node": "n2", "connection": "c2"}
    await sessions.unregister(_held(_SESSION, "c2"))
    assert await _registered(redis, name) == {}
    await sessions.unregister(_held(_SESSION, "c2"))


async def test_a_claim_keeps_makes_anew_or_loses(sessions: Sessions, redis: Redis, name: str) -> None:
    """What is still ours lives on, what Redis lost is there again, and what is another's by now is named."""
    mine, lost, taken = _SESSION, "ses_lost", "ses_taken"
    keys = Keys(name)
    await sessions.register(_held(mine, "c1"), node_id="n1")
    await redis.expire(keys.connection(mine), 5)
    await sessions.register(_held(taken, "c9"), node_id="n2")
    held = [_held(mine, "c1"), _held(lost, "c2"), _held(taken, "c3")]
    assert await sessions.claim(held, node_id="n1") == [_held(taken, "c3")]
    for each in held[:2]:
        key = keys.connection(each.session_id)
        assert await redis.hgetall(key) == {"node": "n1", "connection": each.connection_id}
        assert 85 <= await redis.ttl(key) <= 90
    assert await redis.hgetall(keys.connection(taken)) == {"node": "n2", "connection": "c9"}
    assert await sessions.claim([], node_id="n1") == []


async def test_published_events_arrive_as_they_were_logged(
    sessions: Sessions, redis: Redis, name: str, stack: RunningStack
) -> None:
    """Session, both ids and the payload are those of the log, whatever the text has in it."""
    log = EventLog(redis, name, ttl_seconds=60, max_length=100)
    events = [Event("delta", "job_a", data={"text": text}) for text in ("a  b", "\n \t{}", "漢字 🦊", "")]
    async with _listening(stack.settings.redis_url, name, "n1") as heard:
        await sessions.register(_held(_SESSION, "c1"), node_id="n1")
        appended = await log.append([Frame(_SESSION, 1, event) for event in events])
        await eventually(lambda: len(heard) == len(events))
    ids = ["0-0", *(one.id or "" for one in appended)]
    expected = [
        Published(_SESSION, previous, event_id, event.encode())
        for previous, event_id, event in zip(ids, ids[1:], events, strict=False)
    ]
    assert heard == expected


async def test_notices_end_with_an_error_where_redis_goes(name: str, stack: RunningStack) -> None:
    """A subscription whose connection breaks says so, and no longer counts as subscribed."""
    async with line(stack.settings.redis_url) as watched:
        client = connect(watched.url)
        subscribed = asyncio.Event()
        notices = Sessions(client, name).notices("n1", subscribed=subscribed)
        waiting = asyncio.create_task(_next(notices))
        await asyncio.wait_for(subscribed.wait(), HANGS)
        await watched.cut()
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(waiting, HANGS)
        assert not subscribed.is_set()
        await client.aclose()


async def test_notices_end_with_an_error_where_redis_falls_silent(name: str, stack: RunningStack) -> None:
    """A line that swallows everything is found out: nothing published is no proof of life."""
    async with line(stack.settings.redis_url) as watched:
        client = connect(watched.url)
        subscribed = asyncio.Event()
        notices = Sessions(client, name).notices("n1", subscribed=subscribed, silence_seconds=0.3)
        waiting = asyncio.create_task(_next(notices))
        await asyncio.wait_for(subscribed.wait(), HANGS)
        before = watched.turns
        await eventually(lambda: watched.turns >= before + 3)
        assert not waiting.done(), "a Redis that answers pings is not away"
        watched.silent = True
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(waiting, HANGS)
        assert not subscribed.is_set()
        await client.aclose()


# --- users' limits -------------------------------------------------------------------------------------------------------


@pytest.fixture
def limited(redis: Redis, name: str) -> Sessions:
    """A registry in which a user has two sessions at most."""
    return Sessions(redis, name, most_per_user=2)


async def _refused(sessions: Sessions, held: Registration, node_id: str) -> bool:
    """Register, and tell whether that was refused."""
    try:
        await sessions.register(held, node_id=node_id)
    except UnavailableError as error:
        return error.code == "too_many_connections"
    return False


async def test_a_users_sessions_are_counted_over_all_nodes(limited: Sessions, redis: Redis, name: str) -> None:
    """The third is refused at whatever node and leaves no trace; one that comes again, and another user's, are let in."""
    await limited.register(_held("ses_1", "c1"), node_id="n1")
    await limited.register(_held("ses_2", "c2"), node_id="n2")
    for node in ("n1", "n2", "n3"):
        assert await _refused(limited, _held("ses_3", "c3"), node)
    assert await redis.hgetall(Keys(name).connection("ses_3")) == {}
    await limited.register(_held("ses_1", "c4"), node_id="n3")
    await limited.register(_held("ses_4", "c5", "bob"), node_id="n1")


async def test_a_session_that_ends_makes_room(limited: Sessions) -> None:
    """Once its own connection ends, and not when one that was replaced does."""
    for session in ("ses_1", "ses_2"):
        await limited.register(_held(session, "old"), node_id="n1")
        await limited.register(_held(session, "new"), node_id="n2")
        await limited.unregister(_held(session, "old"))
    assert await _refused(limited, _held("ses_3", "c3"), "n1")
    await limited.unregister(_held("ses_1", "new"))
    await limited.register(_held("ses_3", "c3"), node_id="n1")


async def test_sessions_of_the_same_moment_are_no_more_than_may_be(limited: Sessions) -> None:
    """Of ten at five nodes two are let in, and not one more."""
    refused = await asyncio.gather(*(_refused(limited, _held(f"ses_{n}", "c"), f"n{n % 5}") for n in range(10)))
    assert refused.count(False) == 2


async def test_sessions_of_a_node_that_died_are_forgotten(limited: Sessions, redis: Redis, name: str) -> None:
    """A session that nobody claims counts for 90 s; one that is claimed goes on, and is there again where Redis lost it."""
    key = Keys(name).user("alice")
    for session in ("ses_1", "ses_2"):
        await limited.register(_held(session, "c"), node_id="n1")
    assert 85 <= await redis.ttl(key) <= 90
    await redis.zadd(key, {"ses_1": 1, "ses_2": 1})  # Their 90 s are over.
    await limited.claim([_held("ses_1", "c")], node_id="n1")
    await limited.register(_held("ses_3", "c"), node_id="n2")
    assert await _refused(limited, _held("ses_2", "c"), "n2")
    await redis.delete(key)
    await limited.claim([_held("ses_1", "c"), _held("ses_3", "c")], node_id="n1")
    assert await _refused(limited, _held("ses_4", "c"), "n2")


async def test_without_a_limit_nothing_is_counted(sessions: Sessions, redis: Redis, name: str) -> None:
    """0 is no limit, and costs no key."""
    for number in range(3):
        await sessions.register(_held(f"ses_{number}", "c"), node_id="n1")
    await sessions.claim([_held("ses_1", "c")], node_id="n1")
    await sessions.unregister(_held("ses_1", "c"))
    assert await redis.exists(Keys(name).user("alice")) == 0
