"""The bearer token of a client: one that stays, or one that is asked for again when it was refused."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

__all__ = ["Token", "TokenSource"]

Token: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A token, or a function that returns one; one that is not async may block, and is called in a thread."""


class TokenSource:
    """Gives the token that is good now to all connections of a client."""

    def __init__(self, token: Token) -> None:
        self._given = token
        self._now = token if isinstance(token, str) else None
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """Return the token. Raises what the function raises."""
        async with self._lock:  # Whoever asks meanwhile waits for the same one.
            if self._now is None:
                self._now = await self._ask()
            return self._now

    def refused(self, token: str) -> bool:
        """Learn that a token was refused. Return whether there may be another."""
        if isinstance(self._given, str):
            return False
        if self._now == token:
            self._now = None
        return True

    async def _ask(self) -> str:
        assert not isinstance(self._given, str)  # noqa: S101 - that one is known from the start
        made: Any = await asyncio.to_thread(self._given)
        return str(await made if inspect.isawaitable(made) else made)
