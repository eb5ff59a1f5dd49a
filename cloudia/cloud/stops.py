"""Stops through Redis: the workers are told at which job to look now. Its record alone says whether it shall stop."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING

from cloudia.cloud.channels import published
from cloudia.cloud.redis import Keys, connect, redis_errors
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cloudia.cloud.redis import Redis

__all__ = ["Stops", "publish_stop"]

_PUBLISH_SECONDS = 0.5


class Stops:
    """The channel of a stack's stops. Every method raises `UnavailableError` where Redis is away."""

    def __init__(self, redis: Redis, stack_name: str) -> None:
        self._redis = redis
        self._channel = Keys(stack_name).stops

    async def publish(self, job_id: str) -> None:
        """Have every worker that has the job in work look at it."""
        async with redis_errors(self._redis):
            await self._redis.publish(self._channel, job_id)

    def published(self, *, subscribed: asyncio.Event) -> AsyncGenerator[str, None]:
        """Yield the id of each job that is to be looked at, as `channels.published` does."""
        return published(self._redis, self._channel, subscribed=subscribed)


def publish_stop(url: str, stack_name: str, job_id: str, *, seconds: float = _PUBLISH_SECONDS) -> None:
    """Publish a stop from where no event loop is, over a connection of its own.

    `UnavailableError` where that is not done within `seconds`, whatever it waits for, and `UsageError` where `url` is none.
    """
    done: Future[None] = Future()

    async def publish() -> None:
        async with connect(url, timeout=seconds) as redis:
            await Stops(redis, stack_name).publish(job_id)

    def work() -> None:
        try:
            done.set_result(asyncio.run(publish()))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised to who waits
            done.set_exception(error)

    # A thread, for looking up a name of the network has no deadline.
    Thread(target=work, name="stop", daemon=True).start()
    try:
        done.result(seconds)
    except TimeoutError as error:
        raise UnavailableError(
            "Redis does not answer in time", hint="Is Redis running?", code="redis_unavailable"
        ) from error
