"""What a gateway works with, made once per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.cloud.cloud import Cloud
from cloudia.cloud.realtime import Realtime
from cloudia.cloud.sessions import Sessions
from cloudia.errors import UsageError
from cloudia.ids import part_id

if TYPE_CHECKING:
    from cloudia.cloud.events import EventLog
    from cloudia.cloud.identity import Identity
    from cloudia.cloud.presence import Presence
    from cloudia.settings import Settings

__all__ = ["Services", "make_services"]


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one gateway node."""

    node_id: str
    settings: Settings
    identity: Identity
    presence: Presence
    log: EventLog
    sessions: Sessions
    realtime: Realtime

    async def aclose(self) -> None:
        """Close all connections."""
        await self.realtime.aclose()


def make_services(settings: Settings) -> Services:
    """Make a gateway's services. `UsageError` where the settings name no Redis."""
    if not settings.redis_url:
        raise UsageError("the gateway has no Redis", hint="Set REDIS_URL.", code="no_redis")
    cloud, realtime = Cloud(settings), Realtime(settings)
    return Services(
        node_id=part_id("gtw"),
        settings=settings,
        identity=cloud.identity,
        presence=cloud.presence,
        log=realtime.log,
        sessions=Sessions(realtime.redis, settings.stack_name, most_per_user=settings.limits_connections_per_user),
        realtime=realtime,
    )
