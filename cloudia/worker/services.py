"""What a worker works with, made once per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.cloud.aws import Aws
from cloudia.cloud.cache import ContextCache
from cloudia.cloud.events import EventLog
from cloudia.cloud.history import History
from cloudia.cloud.jobs import Jobs
from cloudia.cloud.parameters import Parameters
from cloudia.cloud.presence import Presence
from cloudia.cloud.queue import JobQueue
from cloudia.cloud.redis import connect
from cloudia.ids import part_id
from cloudia.stack import Stack
from cloudia.worker.background.cancels import Cancels
from cloudia.worker.background.leases import Leases
from cloudia.worker.background.outbox import Outbox
from cloudia.worker.background.receipts import Receipts
from cloudia.worker.context import Contexts
from cloudia.worker.llm import Llm, make_llm
from cloudia.worker.responders import answer_with_llm, load_responder

if TYPE_CHECKING:
    from cloudia.cloud.redis import Redis
    from cloudia.settings import Settings
    from cloudia.worker.turn import Responder

__all__ = ["Services", "make_services"]


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one worker, shared by all its attempts."""

    worker_id: str
    settings: Settings
    queue: JobQueue
    dead_letters: JobQueue
    jobs: Jobs
    history: History
    presence: Presence
    contexts: Contexts
    receipts: Receipts
    leases: Leases
    cancels: Cancels
    outbox: Outbox
    llm: Llm
    responder: Responder
    redis: Redis | None

    async def aclose(self) -> None:
        """Close all connections."""
        await self.llm.aclose()
        if self.redis:
            await self.redis.aclose()


async def make_services(settings: Settings) -> Services:
    """Make a worker's services. `UsageError` where the settings lack something, such as an API key."""
    stack = Stack(settings.stack_name)
    aws = Aws(settings)
    redis = connect(settings.redis_url) if settings.redis_url else None
    jobs, history = Jobs(aws.dynamodb, stack), History(aws.dynamodb, stack)
    queue = JobQueue(aws.sqs, stack.jobs_queue)
    cache = ContextCache(redis, stack.name) if redis else None
    log = (
        EventLog(redis, stack.name, ttl_seconds=settings.events_ttl_seconds, max_length=settings.events_max_length)
        if redis
        else None
    )
    return Services(
        worker_id=part_id("wrk"),
        settings=settings,
        queue=queue,
        dead_letters=JobQueue(aws.sqs, stack.dead_letters),
        jobs=jobs,
        history=history,
        presence=Presence(aws.dynamodb, stack),
        contexts=Contexts(history, cache, most=settings.limits_context_messages),
        receipts=Receipts(queue, visibility_seconds=settings.worker_visibility_seconds),
        leases=Leases(jobs, seconds=settings.worker_lease_seconds),
        cancels=Cancels(jobs),
        outbox=Outbox(log, frame_seconds=settings.events_frame_ms / 1000),
        llm=make_llm(settings, Parameters(aws.ssm), stack),
        responder=load_responder(settings.worker_responder) if settings.worker_responder else answer_with_llm,
        redis=redis,
    )
