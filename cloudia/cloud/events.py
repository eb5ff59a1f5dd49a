"""The event log: a capped Redis stream a session, from which any gateway can replay.

The stream is the truth and the publication only a wake-up: each names the entry before it, so a gateway that missed one
sees the gap and reads the stream.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudia.cloud.redis import Keys, redis_errors
from cloudia.protocol import START

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.cloud.redis import Redis
    from cloudia.protocol import Event

__all__ = ["START", "Appended", "Entry", "EventLog", "Frame"]

# One round trip, one decision. An attempt whose fence is older than the log has seen is stale and writes nothing more; a
# job ends once per fence, so the last event of a job delivered twice is not logged twice. What goes on with an attempt that
# the log does not know has lost what was before it: Redis was started anew.
_APPEND = """
local fence = tonumber(ARGV[1])
local seen = redis.call('HMGET', KEYS[2], 'fence', 'ended')
if seen[1] and tonumber(seen[1]) > fence then return 'stale' end
if seen[2] and tonumber(seen[2]) >= fence then return 'ended' end
if ARGV[8] == '1' and tonumber(seen[1] or -1) ~= fence then return 'lost' end
redis.call('HSET', KEYS[2], 'fence', ARGV[1])
if ARGV[2] == '1' then redis.call('HSET', KEYS[2], 'ended', ARGV[1]) end
redis.call('EXPIRE', KEYS[2], ARGV[5])
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local previous = '0-0'
if last[1] then previous = last[1][1] end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'e', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
local node = redis.call('HGET', KEYS[3], 'node')
if node then
  redis.call('PUBLISH', ARGV[6] .. node, 'event ' .. ARGV[7] .. ' ' .. previous .. ' ' .. id .. ' ' .. ARGV[3])
end
return id
"""
_APPEND_SHA = hashlib.sha1(_APPEND.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Frame:
    """An event on its way into a session's log, written under the fence of its job's lease.

    `goes_on` says that others of its attempt stand before it.
    """

    session_id: str
    fence: int
    event: Event
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in the log: `payload` is its JSON text without the id."""

    id: str
    payload: str


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a frame: its id in the log, or why not: `stale`, `ended`, or `lost` with what it goes on from."""

    id: str | None
    refused: str | None = None


class EventLog:
    """The logs of all sessions. Every method raises `UnavailableError` where Redis is away."""

    def __init__(self, redis: Redis, stack_name: str, *, ttl_seconds: int, max_length: int) -> None:
        self._redis = redis
        self._keys = Keys(stack_name)
        self._ttl = ttl_seconds
        self._max_length = max_length

    async def append(self, frames: Sequence[Frame]) -> list[Appended]:
        """Append frames and tell the gateways that hold their connections: one round trip for all of them."""
        async with redis_errors(self._redis), self._redis.pipeline(transaction=False) as pipeline:
            # The first brings the script along, so that Redis knows it for the others, whatever it has forgotten.
            command = ["EVAL", _APPEND]
            for frame in frames:
                event, session = frame.event, frame.session_id
                pipeline.execute_command(
                    *command,
                    3,
                    self._keys.log(session),
                    self._keys.job(session, event.job_id or ""),
                    self._keys.connection(session),
                    frame.fence,
                    int(event.terminal),
                    event.encode(),
                    self._max_length,
                    self._ttl,
                    self._keys.node(""),
                    session,
                    int(frame.goes_on),
                )
                command = ["EVALSHA", _APPEND_SHA]
            replies: list[str] = await pipeline.execute()
        return [Appended(reply) if "-" in reply else Appended(None, reply) for reply in replies]

    async def after(self, session_id: str, event_id: str, *, count: int = 500) -> list[Entry]:
        """Return up to `count` entries that stand after `event_id`."""
        async with redis_errors(self._redis):
            rows: Any = await self._redis.xrange(self._keys.log(session_id), min=f"({event_id}", max="+", count=count)
        return [Entry(entry_id, fields["e"]) for entry_id, fields in rows]

    async def holds(self, session_id: str, event_id: str) -> bool:
        """Tell whether the log still has this entry, so that nothing after it can be missing."""
        async with redis_errors(self._redis):
            return bool(await self._redis.xrange(self._keys.log(session_id), min=event_id, max=event_id, count=1))

    async def has_end(self, session_id: str, job_id: str) -> bool:
        """Tell whether the end of a job was logged, and is known still."""
        async with redis_errors(self._redis):
            return bool(await self._redis.hexists(self._keys.job(session_id, job_id), "ended"))
