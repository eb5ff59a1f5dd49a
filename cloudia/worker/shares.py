"""Shares: whose job is begun next, so that the users of a worker get the same of it, however many jobs each has."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Shares"]


class Shares:
    """The places of a worker. A free one goes to who has the fewest, among those to who was served longest ago.

    One user never has more than seven eighths of them: who comes second begins at once.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._most = places - places // 8
        self._working: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By user, those first who were served longest ago."""
        self._open = False

    @property
    def in_work(self) -> int:
        """How many places are taken."""
        return self._working.total()

    @property
    def uneven(self) -> bool:
        """Whether one user has more than half of the places: others may stand behind that one's jobs in the queue."""
        return max(self._working.values(), default=0) * 2 > self._places

    @asynccontextmanager
    async def place(self, user: str) -> AsyncIterator[None]:
        """Hold a place while the block runs; wait for one before."""
        await self._enter(user)
        try:
            yield
        finally:
            self._leave(user)

    def open(self) -> None:
        """Let all in who wait, and everybody from now on: the worker stops, and each lane is to see that."""
        self._open = True
        self._admit()

    async def _enter(self, user: str) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(waiter)
        self._admit()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._leave(user)
            raise

    def _leave(self, user: str) -> None:
        self._working[user] -= 1
        if not self._working[user]:
            del self._working[user]
        self._admit()

    def _admit(self) -> None:
        while self._waiting and (self._open or self.in_work < self._places):
            user = min(self._waiting, key=lambda name: self._working[name])
            if self._working[user] >= self._most and not self._open:
                return
            waiters = self._waiting.pop(user)
            waiter = waiters.popleft()
            if waiters:
                self._waiting[user] = waiters  # Behind the others.
            if not waiter.done():
                self._working[user] += 1
                waiter.set_result(None)
