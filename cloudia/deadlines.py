"""Deadlines in the time of this process: one that was late itself does not blame whom it waits for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["deadline", "is_late"]

_SLICES = 8
_MOST = 10
_LATE_SECONDS = 0.1


def is_late(due: float) -> bool:
    """Tell whether the running loop comes so late to what was `due` (its time) that others may have answered long ago."""
    return asyncio.get_running_loop().time() - due > _LATE_SECONDS


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Raise `TimeoutError` where the block takes longer than `seconds` in which the loop was on time.

    A timer of asyncio cancels what it bounds also where the loop was blocked, by its own work or a busy machine, and the answer
    is there and unread. So the time is cut into slices, and one that ends late is not counted. Ten times as long ends the
    block in any case.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle
    last, left = loop.time() + _MOST * seconds, _SLICES

    def end(due: float) -> None:
        nonlocal left, timer
        left -= not is_late(due)
        if left and due < last:
            timer = loop.call_later(seconds / _SLICES, end, loop.time() + seconds / _SLICES)
        else:
            timeout.reschedule(due)

    timer = loop.call_later(seconds / _SLICES, end, loop.time() + seconds / _SLICES)
    try:
        async with asyncio.timeout(None) as timeout:
            yield
    finally:
        timer.cancel()
