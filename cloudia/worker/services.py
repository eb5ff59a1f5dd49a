"""What a worker works with, made once per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.cloud.cloud import Cloud
from cloudia.cloud.realtime import Realtime
from cloudia.cloud.reserve import budgets_of
from cloudia.ids import part_id
from cloudia.operate.reconciler import Reconciler
from cloudia.worker.background.cancels import Cancels
from cloudia.worker.background.leases import Leases
from cloudia.worker.background.outbox import Outbox
from cloudia.worker.background.receipts import Receipts
from cloudia.worker.background.reconciling import Reconciling
from cloudia.worker.background.refusals import Refusals
from cloudia.worker.background.sampling import Sampling
from cloudia.worker.context import Contexts
from cloudia.worker.cost import Costs
from cloudia.worker.responders import answer_with_llm, load_responder
from cloudia.worker.routes import make_llm, room

if TYPE_CHECKING:
    from cloudia.cloud.budgets import Budgets
    from cloudia.cloud.history import History
    from cloudia.cloud.jobs import Jobs
    from cloudia.cloud.presence import Presence
    from cloudia.cloud.queue import JobQueue
    from cloudia.settings import Settings
    from cloudia.worker.llm import Llm
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
    refusals: Refusals
    receipts: Receipts
    leases: Leases
    cancels: Cancels
    outbox: Outbox
    reconciling: Reconciling
    sampling: Sampling
    llm: Llm
    costs: Costs
    budgets: Budgets
    responder: Responder
    realtime: Realtime | None

    async def aclose(self) -> None:
        """Close all connections."""
        await self.llm.aclose()
        if self.realtime:
            await self.realtime.aclose()


async def make_services(settings: Settings) -> Services:
    """Make a worker's services. `UsageError` where the settings lack something, such as an API key."""
    cloud = Cloud(settings)
    realtime = Realtime(settings) if settings.redis_url else None
    worker_id, after = part_id("wrk"), settings.reconcile_after_seconds
    reconciler = Reconciler(cloud.orphans, cloud.jobs, cloud.history, cloud.queue, after_seconds=after)
    cache, log, stops = (realtime.contexts, realtime.log, realtime.stops) if realtime else (None, None, None)
    refusals = Refusals()
    return Services(
        worker_id=worker_id,
        settings=settings,
        queue=cloud.queue,
        dead_letters=cloud.dead_letters,
        jobs=cloud.jobs,
        history=cloud.history,
        presence=cloud.presence,
        contexts=Contexts(cloud.history, cache, most=settings.limits_context_messages, most_tokens=room(settings)),
        refusals=refusals,
        receipts=Receipts(cloud.queue, refusals, visibility_seconds=settings.worker_visibility_seconds),
        leases=Leases(cloud.jobs, refusals, seconds=settings.worker_lease_seconds),
        cancels=Cancels(cloud.jobs, stops, poll_seconds=settings.worker_cancel_poll_seconds),
        outbox=Outbox(log, frame_seconds=settings.events_frame_ms / 1000),
        reconciling=Reconciling(reconciler, cloud.presence, worker_id=worker_id, after_seconds=after),
        sampling=Sampling(cloud.queue, cloud.dead_letters, cloud.orphans),
        llm=make_llm(settings, cloud.parameters, cloud.stack),
        costs=Costs(settings),
        budgets=budgets_of(settings),
        responder=load_responder(settings.worker_responder) if settings.worker_responder else answer_with_llm,
        realtime=realtime,
    )
