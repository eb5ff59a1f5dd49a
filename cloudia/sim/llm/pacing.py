"""When each token is due: counted from the request's arrival, so that small delays never add up."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Pace"]

# Due times are rounded up to this grid, in seconds: streams wake together, and a fast one sends several tokens at once.
_GRID = 0.005
_LONGEST = 3_600.0  # seconds between two tokens, however few were asked for


@dataclass(frozen=True, slots=True)
class Pace:
    """`start`: when the request came; `ttft`: seconds to the first token; `gap`: seconds between two tokens."""

    start: float
    ttft: float
    gap: float

    @classmethod
    def of(cls, start: float, ttft: float, tps: float) -> Pace:
        """Return the pace of `tps` tokens per second; 0 means all at once."""
        return cls(start, ttft, min(1 / tps, _LONGEST) if tps else 0.0)

    def due(self, token: int) -> float:
        """Return when `token`, counted from 0, is to be sent, on the grid."""
        return math.ceil((self.start + self.ttft + token * self.gap) / _GRID) * _GRID

    def ready(self, now: float, total: int) -> int:
        """Return how many of `total` tokens are due by `now`."""
        late = now - self.start - self.ttft
        if late < 0:
            return 0
        return min(total, int(late / self.gap) + 1) if self.gap else total
