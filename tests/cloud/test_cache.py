"""The context cache on a real Redis: fresh for one turn, and else not there."""

from __future__ import annotations

import secrets

import pytest

from cloudia.cloud.cache import ContextCache
from cloudia.cloud.redis import Keys, Redis, connect
from cloudia.errors import UnavailableError
from cloudia.protocol import Message
from cloudia.sim.ports import LOOPBACK, choose_port

_CONVERSATION = "cnv_01k0000000000000000000000a"
_MESSAGES = [
    Message("msg_a0", _CONVERSATION, "user", "Grüße 🦊", "2026-11-22T21:12:00.123Z", "job_a"),
    Message(
        "msg_a1", _CONVERSATION, "assistant", "", "2026-11-22T21:12:01.123Z", "job_a", "failed", error={"code": "x"}
    ),
]


@pytest.fixture
def name() -> str:
    """A stack name that no other test uses."""
    return f"ctx{secrets.token_hex(4)}"


@pytest.fixture
def cache(redis: Redis, name: str) -> ContextCache:
    """A cache of the test's own."""
    return ContextCache(redis, name)


async def test_a_context_serves_the_turn_that_follows(cache: ContextCache) -> None:
    """Through the right message it is what was put; through any other it is not there."""
    await cache.put(_CONVERSATION, through="msg_a0", messages=_MESSAGES)
    assert await cache.get(_CONVERSATION, through="msg_a0") == _MESSAGES
    for other in ("msg_90", "msg_b0", "msg_a1", ""):
        assert await cache.get(_CONVERSATION, through=other) is None
    assert await cache.get("cnv_other", through="msg_a0") is None


async def test_a_later_turn_takes_the_place_of_the_one_before(cache: ContextCache) -> None:
    """A conversation has one context."""
    await cache.put(_CONVERSATION, through="msg_a0", messages=_MESSAGES)
    await cache.put(_CONVERSATION, through="msg_b0", messages=_MESSAGES[:1])
    assert await cache.get(_CONVERSATION, through="msg_a0") is None
    assert await cache.get(_CONVERSATION, through="msg_b0") == _MESSAGES[:1]


async def test_a_context_can_be_dropped(cache: ContextCache) -> None:
    """After `drop` nothing is there, and dropping nothing is no error."""
    await cache.put(_CONVERSATION, through="msg_a0", messages=_MESSAGES)
    await cache.drop(_CONVERSATION)
    assert await cache.get(_CONVERSATION, through="msg_a0") is None
    await cache.drop(_CONVERSATION)


async def test_a_context_expires(cache: ContextCache, redis: Redis, name: str) -> None:
    """An hour after its last turn a conversation costs Redis nothing."""
    await cache.put(_CONVERSATION, through="msg_a0", messages=_MESSAGES)
    assert 3590 <= await redis.ttl(Keys(name).context(_CONVERSATION)) <= 3600


@pytest.mark.parametrize(
    "raw",
    [
        "not json",
        "[]",
        "{}",
        '{"through": "msg_a0"}',
        '{"through": "msg_a0", "messages": [{"text": "as another version wrote it"}]}',
    ],
)
async def test_what_cannot_be_read_is_not_there(cache: ContextCache, redis: Redis, name: str, raw: str) -> None:
    """An entry that another version wrote costs a read of DynamoDB, not the turn."""
    await redis.set(Keys(name).context(_CONVERSATION), raw)
    assert await cache.get(_CONVERSATION, through="msg_a0") is None


async def test_redis_away_is_said_in_one_way() -> None:
    """Every method raises `UnavailableError`."""
    client = connect(f"redis://{LOOPBACK}:{choose_port()}/0")
    cache = ContextCache(client, "x")
    for attempt in (
        cache.get(_CONVERSATION, through="msg_a0"),
        cache.put(_CONVERSATION, through="msg_a0", messages=[]),
        cache.drop(_CONVERSATION),
    ):
        with pytest.raises(UnavailableError):
            await attempt
    await client.aclose()
