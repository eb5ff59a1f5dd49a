"""What a gateway works with, made once per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.cloud.aws import Aws
from cloudia.cloud.events import EventLog
from cloudia.cloud.identity import Identity
from cloudia.cloud.parameters import Parameters
from cloudia.cloud.presence import Presence
from cloudia.cloud.redis import connect
from cloudia.cloud.sessions import Sessions
from cloudia.errors import UsageError
from cloudia.ids import part_id
from cloudia.stack import Stack

if TYPE_CHECKING:
    from cloudia.cloud.redis import Redis
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
    redis: Redis

    async def aclose(self) -> None:
        """Close all connections."""
        await self.redis.aclose()


def make_services(settings: Settings) -> Services:
    """Make a gateway's services. `UsageError` where the settings name no Redis."""
    if not settings.redis_url:
        raise UsageError("the gateway has no Redis", hint="Set REDIS_URL.", code="no_redis")
    stack = Stack(settings.stack_name)
    aws = Aws(settings)
    redis = connect(settings.redis_url)
    return Services(
        node_id=part_id("gtw"),
        settings=settings,
        identity=Identity(Parameters(aws.ssm), stack, settings),
        presence=Presence(aws.dynamodb, stack),
        log=EventLog(redis, stack.name, ttl_seconds=settings.events_ttl_seconds, max_length=settings.events_max_length),
        sessions=Sessions(redis, stack.name),
        redis=redis,
    )
