"""What a process has in Redis: the event log, the cached contexts and the stops, over one client.

Apart from `cloud.Cloud`, so that the functions do not carry the library of Redis; the one that stops a job asks `stops` alone.
The registry of sessions stands on the same client; a gateway makes it, as the limit of a user's is its setting.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from cloudia.cloud.cache import ContextCache
from cloudia.cloud.events import EventLog
from cloudia.cloud.redis import connect
from cloudia.cloud.stops import Stops

if TYPE_CHECKING:
    from cloudia.settings import Settings

__all__ = ["Realtime"]


class Realtime:
    """The services in Redis of the stack that the settings name. `UsageError` where `redis.url` is no URL of Redis."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.redis = connect(settings.redis_url)

    @cached_property
    def log(self) -> EventLog:
        """The events of all sessions."""
        settings = self._settings
        return EventLog(
            self.redis,
            settings.stack_name,
            ttl_seconds=settings.events_ttl_seconds,
            max_length=settings.events_max_length,
        )

    @cached_property
    def contexts(self) -> ContextCache:
        """The conversations that were answered last."""
        return ContextCache(self.redis, self._settings.stack_name)

    @cached_property
    def stops(self) -> Stops:
        """Which jobs are to be looked at."""
        return Stops(self.redis, self._settings.stack_name)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.redis.aclose()
