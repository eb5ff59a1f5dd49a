"""Listening to what Redis publishes, while a test does something."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from cloudia.cloud.redis import connect
from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable

    from cloudia.cloud.redis import Redis

__all__ = ["listening"]

T = TypeVar("T")


@asynccontextmanager
async def listening(url: str, published: Callable[[Redis, asyncio.Event], AsyncIterable[T]]) -> AsyncIterator[list[T]]:
    """Collect what is `published`, given a client and what it sets while nothing can be missed."""
    heard: list[T] = []
    subscribed = asyncio.Event()

    async def listen(client: Redis) -> None:
        async for each in published(client, subscribed):
            heard.append(each)  # noqa: PERF401 - each as it comes

    async with connect(url) as client:
        task = asyncio.create_task(listen(client))
        try:
            await asyncio.wait_for(subscribed.wait(), HANGS)
            yield heard
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert not subscribed.is_set()
