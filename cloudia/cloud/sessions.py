"""The registry of sessions: which gateway node holds which session's connection."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cloudia.cloud.channels import SILENCE_SECONDS, published
from cloudia.cloud.redis import Keys, redis_errors
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Sequence

    from cloudia.cloud.redis import Redis

__all__ = ["Notice", "Published", "Registration", "Replaced", "Sessions"]

_TTL_SECONDS = 90
"""A registration outlives this many seconds without a refresh."""

# A user's sessions are counted where there is a limit: KEYS[2] then has each with the second in which it is forgotten.

# Registers a connection, and tells the node of the one before it, if there is one, that it was replaced; 0 where its user has
# as many sessions as may be, and it is none of them.
_REGISTER = """
if KEYS[2] then
  local now = tonumber(redis.call('TIME')[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if not redis.call('ZSCORE', KEYS[2], ARGV[4]) and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[6]) then return 0 end
  redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[4])
  redis.call('EXPIRE', KEYS[2], ARGV[3])
end
local old = redis.call('HMGET', KEYS[1], 'node', 'connection')
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'connection', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
if old[1] and old[2] ~= ARGV[2] then
  redis.call('PUBLISH', ARGV[5] .. old[1], 'replaced ' .. ARGV[4] .. ' ' .. old[2])
end
return 1
"""

# Keeps a registration alive, or makes it anew where Redis lost it; 0 where another connection has the session.
_CLAIM = """
local held = redis.call('HGET', KEYS[1], 'connection')
if held and held ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'connection', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
if KEYS[2] then
  redis.call('ZADD', KEYS[2], redis.call('TIME')[1] + ARGV[3], ARGV[4])
  redis.call('EXPIRE', KEYS[2], ARGV[3])
end
return 1
"""

_UNREGISTER = """
if redis.call('HGET', KEYS[1], 'connection') ~= ARGV[1] then return 0 end
if KEYS[2] then redis.call('ZREM', KEYS[2], ARGV[2]) end
return redis.call('DEL', KEYS[1])
"""


@dataclass(frozen=True, slots=True)
class Registration:
    """A connection that has a session, and whose session it is."""

    session_id: str
    connection_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Published:
    """An event of a session was logged as `event_id`, right after `previous_id`."""

    session_id: str
    previous_id: str
    event_id: str
    payload: str


@dataclass(frozen=True, slots=True)
class Replaced:
    """A session's connection was replaced by a newer one."""

    session_id: str
    connection_id: str


Notice: TypeAlias = Published | Replaced


class Sessions:
    """The registry. Every method raises `UnavailableError` where Redis is away."""

    def __init__(self, redis: Redis, stack_name: str, *, most_per_user: int = 0) -> None:
        """Limit each user to `most_per_user` sessions at a time, over all nodes; 0 is no limit, and counts nothing."""
        self._redis = redis
        self._keys = Keys(stack_name)
        self._most = most_per_user
        self._register = redis.register_script(_REGISTER)
        self._claim = redis.register_script(_CLAIM)
        self._unregister = redis.register_script(_UNREGISTER)

    async def register(self, held: Registration, *, node_id: str) -> None:
        """Make this connection the session's only one. `UnavailableError` where the user has as many sessions as may be.

        A session that comes again is let in: its connection before is replaced.
        """
        async with redis_errors(self._redis):
            let_in = await self._register(
                keys=self._of(held),
                args=[node_id, held.connection_id, _TTL_SECONDS, held.session_id, self._keys.node(""), self._most],
            )
        if not let_in:
            raise UnavailableError(
                f"you have {self._most} connections", hint="Close one of them.", code="too_many_connections"
            )

    async def claim(self, connections: Sequence[Registration], *, node_id: str) -> list[Registration]:
        """Keep these connections registered for 90 s more. Return those that were replaced."""
        if not connections:
            return []
        async with redis_errors(self._redis), self._redis.pipeline(transaction=False) as pipeline:
            for held in connections:
                await self._claim(
                    keys=self._of(held),
                    args=[node_id, held.connection_id, _TTL_SECONDS, held.session_id],
                    client=pipeline,
                )
            claimed = await pipeline.execute()
        return [held for held, mine in zip(connections, claimed, strict=True) if not mine]

    async def unregister(self, held: Registration) -> None:
        """Forget a connection, unless a newer one has taken its place."""
        async with redis_errors(self._redis):
            await self._unregister(keys=self._of(held), args=[held.connection_id, held.session_id])

    async def connected(self, session_id: str) -> bool:
        """Tell whether a session has a connection, as far as its gateway is alive."""
        async with redis_errors(self._redis):
            return bool(await self._redis.exists(self._keys.connection(session_id)))

    def _of(self, held: Registration) -> list[str]:
        """Return the keys of a registration: its session's, and where users are limited its user's."""
        session = self._keys.connection(held.session_id)
        return [session, self._keys.user(held.user_id)] if self._most else [session]

    async def notices(
        self, node_id: str, *, subscribed: asyncio.Event, silence_seconds: float = SILENCE_SECONDS
    ) -> AsyncIterator[Notice]:
        """Yield what is published for a node, as `channels.published` does."""
        channel = self._keys.node(node_id)
        async with aclosing(
            published(self._redis, channel, subscribed=subscribed, silence_seconds=silence_seconds)
        ) as notices:
            async for data in notices:
                yield _notice(data)


def _notice(data: str) -> Notice:
    kind, _, rest = data.partition(" ")
    if kind == "event":
        session_id, previous_id, event_id, payload = rest.split(" ", 3)
        return Published(session_id, previous_id, event_id, payload)
    session_id, connection_id = rest.split(" ", 1)
    return Replaced(session_id, connection_id)
