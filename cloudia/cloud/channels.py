"""Channels of Redis: what is published, as it comes, for as long as Redis answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudia.cloud.redis import redis_errors

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from cloudia.cloud.redis import Redis

__all__ = ["SILENCE_SECONDS", "published"]

SILENCE_SECONDS = 10.0


async def published(
    redis: Redis, channel: str, *, subscribed: asyncio.Event, silence_seconds: float = SILENCE_SECONDS
) -> AsyncGenerator[str, None]:
    """Yield what is published on a channel. `subscribed` is set while nothing can be missed.

    A Redis that is silent for `silence_seconds`, and after that does not answer a ping in as many, is away:
    `UnavailableError`.
    """
    pubsub = redis.pubsub()
    try:
        async with redis_errors(redis):
            await pubsub.subscribe(channel)
        pinged = False
        while True:
            async with redis_errors(redis, wait_seconds=silence_seconds):
                message = await pubsub.get_message(timeout=silence_seconds)
                if message is None and pinged:
                    raise TimeoutError
                if message is None:
                    await pubsub.ping()
            pinged = message is None
            if message is None:
                continue
            if message["type"] == "subscribe":
                subscribed.set()
            elif message["type"] == "message":
                yield message["data"]
    finally:
        subscribed.clear()
        await pubsub.aclose()  # type: ignore[no-untyped-call]
