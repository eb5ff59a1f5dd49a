"""The context cache: a conversation's recent messages in Redis, so that a turn costs no read of DynamoDB.

An entry bears the id of the last user message it covers; it serves only the turn that directly follows that message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cloudia.cloud.redis import Keys, redis_errors
from cloudia.protocol import Message

if TYPE_CHECKING:
    from cloudia.cloud.redis import Redis

__all__ = ["ContextCache"]

_TTL_SECONDS = 3600


class ContextCache:
    """Cached contexts. Every method raises `UnavailableError` where Redis is away: then DynamoDB has it all."""

    def __init__(self, redis: Redis, stack_name: str) -> None:
        self._redis = redis
        self._keys = Keys(stack_name)

    async def get(self, conversation_id: str, *, through: str) -> list[Message] | None:
        """Return the messages up to the turn of the user message `through`, or None where that is not what is cached."""
        async with redis_errors(self._redis):
            raw = await self._redis.get(self._keys.context(conversation_id))
        if raw is None:
            return None
        try:
            entry = json.loads(raw)
            return [Message.from_json(fields) for fields in entry["messages"]] if entry["through"] == through else None
        except (ValueError, KeyError, TypeError):  # Whatever wrote it, the history has it all.
            return None

    async def put(self, conversation_id: str, *, through: str, messages: list[Message]) -> None:
        """Cache the messages up to the turn of the user message `through`."""
        entry = {"through": through, "messages": [message.to_json() for message in messages]}
        async with redis_errors(self._redis):
            await self._redis.set(self._keys.context(conversation_id), json.dumps(entry), ex=_TTL_SECONDS)

    async def drop(self, conversation_id: str) -> None:
        """Forget a conversation's context."""
        async with redis_errors(self._redis):
            await self._redis.delete(self._keys.context(conversation_id))
