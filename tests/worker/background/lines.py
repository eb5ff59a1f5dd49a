"""What the doubles of AWS and Redis share: each call is noted, takes its time, and may fail."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from tests.clock import Clock

AWAY = UnavailableError("it is away", code="aws_unavailable")


@dataclass
class Line:
    """The line to a service: how long a call takes, and how it fails if it does."""

    clock: Clock
    seconds: float = 0.0
    error: Exception | None = None
    calls: list[tuple[float, Any]] = field(default_factory=list)
    """When each call began, in seconds of the test, and what it asked for."""
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock.time()

    @property
    def now(self) -> float:
        """Seconds since the test began."""
        return round(self.clock.time() - self._began, 6)

    def blocking(self, what: Any) -> None:
        """Call from a thread, as boto3 does."""
        self.calls.append((self.now, what))
        if self.seconds:
            self.clock.spend(self.seconds)
        if self.error:
            raise self.error

    async def awaited(self, what: Any) -> None:
        """Call from the loop, as redis-py does."""
        self.calls.append((self.now, what))
        await asyncio.sleep(self.seconds)
        if self.error:
            raise self.error


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a background loop until the block ends. An error that ended it before is raised."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
