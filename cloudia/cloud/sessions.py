"""The registry of sessions: which gateway node holds which session's connection."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cloudia.cloud.channels import SILENCE_SECONDS, published
from cloudia.cloud.redis import Keys, redis_errors

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Sequence

    from cloudia.cloud.redis import Redis

__all__ = ["Notice", "Published", "Replaced", "Sessions"]

_TTL_SECONDS = 90
"""A registration outlives this many seconds without a refresh."""

# Registers a connection, and tells the node of the one before it, if there is one, that it was replaced.
_REGISTER = """
local old = redis.call('HMGET', KEYS[1], 'node', 'connection')
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'connection', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
if old[1] and old[2] ~= ARGV[2] then
  redis.call('PUBLISH', ARGV[4] .. old[1], 'replaced ' .. ARGV[5] .. ' ' .. old[2])
end
return 1
"""

# Keeps a registration alive, or makes it anew where Redis lost it; 0 where another connection has the session.
_CLAIM = """
local held = redis.call('HGET', KEYS[1], 'connection')
if held and held ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'connection', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""

_UNREGISTER = """
if redis.call('HGET', KEYS[1], 'connection') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


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

    def __init__(self, redis: Redis, stack_name: str) -> None:
        self._redis = redis
        self._keys = Keys(stack_name)
        self._register = redis.register_script(_REGISTER)
        self._claim = redis.register_script(_CLAIM)
        self._unregister = redis.register_script(_UNREGISTER)

    async def register(self, session_id: str, *, node_id: str, connection_id: str) -> None:
        """Make this connection the session's only one."""
        async with redis_errors(self._redis):
            await self._register(
                keys=[self._keys.connection(session_id)],
                args=[node_id, connection_id, _TTL_SECONDS, self._keys.node(""), session_id],
            )

    async def claim(self, connections: Sequence[tuple[str, str]], *, node_id: str) -> list[tuple[str, str]]:
        """Keep each `(session_id, connection_id)` registered for 90 s more. Return those that were replaced."""
        if not connections:
            return []
        async with redis_errors(self._redis), self._redis.pipeline(transaction=False) as pipeline:
            for session_id, connection_id in connections:
                await self._claim(
                    keys=[self._keys.connection(session_id)],
                    args=[node_id, connection_id, _TTL_SECONDS],
                    client=pipeline,
                )
            claimed = await pipeline.execute()
        return [connection for connection, mine in zip(connections, claimed, strict=True) if not mine]

    async def unregister(self, session_id: str, *, connection_id: str) -> None:
        """Forget a connection, unless a newer one has taken its place."""
        async with redis_errors(self._redis):
            await self._unregister(keys=[self._keys.connection(session_id)], args=[connection_id])

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
