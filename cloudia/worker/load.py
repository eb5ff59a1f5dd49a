"""The load of a worker's process: one that lags takes no more work until it is on time again."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Load"]

_EVERY_SECONDS = 0.05
_SAMPLES = 10
"""Half a second: what blocks the loop once, such as an import, is no load."""
_LATE_SECONDS = 0.1
"""Streams are told on every 50 ms; where the loop is this late, most of the time, one more of them makes all of them worse."""


class Load:
    """How late the event loop is, half of the time at least."""

    def __init__(self) -> None:
        self._late: deque[float] = deque([0.0] * _SAMPLES, maxlen=_SAMPLES)

    @property
    def lag_seconds(self) -> float:
        """The median of the last half second."""
        return sorted(self._late)[_SAMPLES // 2]

    @property
    def heavy(self) -> bool:
        """Whether there is no time for more work."""
        return self.lag_seconds >= _LATE_SECONDS

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY_SECONDS
            await asyncio.sleep(_EVERY_SECONDS)
            self._late.append(loop.time() - due)
