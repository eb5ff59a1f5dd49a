"""One delivered message: what it turns out to be, and so what is done with it.

A message is a wake-up of its conversation; which turn is answered is said by the history alone: the oldest that has not ended.
The messages before a turn tell whether that is the one, and are read anyway.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia import ids, telemetry
from cloudia.cloud.job_records import Ended, Held, Lease, Unknown
from cloudia.errors import InvalidRequestError
from cloudia.protocol import LaterVersionError, QueuedJob
from cloudia.telemetry.events import AttemptIds, ContextRead, JobLeased
from cloudia.worker.attempt import Again, Attempt, Back, Delete, Outcome
from cloudia.worker.context import unanswered
from cloudia.worker.endings import bury, last_event
from cloudia.worker.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.cloud.queue import Received
    from cloudia.protocol import Message
    from cloudia.worker.services import Services

__all__ = ["Deliveries"]

_LATER_VERSION_SECONDS = 30
"""How long a message stays hidden that needs a worker of a later version: while a fleet is renewed there are both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """A job and the messages before it, with when these had been read (epoch seconds) and how long it took."""

    job: QueuedJob
    before: Sequence[Message]
    read_at: float
    read_seconds: float


class Deliveries:
    """Takes messages one by one, and knows which attempts are under way."""

    def __init__(self, services: Services) -> None:
        self._to = services
        self._attempts: set[Attempt] = set()

    def interrupt(self) -> None:
        """Break off all attempts, so that their jobs are handed back."""
        for attempt in self._attempts:
            attempt.stop("draining")

    async def take(self, received: Received) -> Outcome:
        """Do what a message asks for. `UnavailableError` where DynamoDB is away before anything was done."""
        try:
            return await self._take(received)
        except LaterVersionError as error:
            telemetry.log("job is for a later version", level=logging.ERROR, code=error.code, reason=error.message)
            return Back(_LATER_VERSION_SECONDS, begun=False)

    async def _take(self, received: Received) -> Outcome:
        try:
            job = QueuedJob.decode(received.body)
        except LaterVersionError:
            raise
        except InvalidRequestError as error:
            failure = Failure(error.code, "This is not a job of ours.", error.message, retryable=False)
            await self._bury(received, failure)
            return Delete()
        turn = await self._oldest(job)
        trace_id = telemetry.trace_id(turn.job.traceparent)
        with telemetry.bound(job_id=turn.job.job_id, conversation_id=turn.job.conversation_id, trace_id=trace_id):
            outcome = await self._take_turn(received, turn)
        return outcome if turn.job is job else _behind(outcome)

    async def _oldest(self, job: QueuedJob) -> _Turn:
        """Return the oldest turn that has not ended, of those up to a job's."""
        while True:
            began = time.perf_counter()
            before = await self._to.contexts.before(job)
            turn = _Turn(job=job, before=before, read_at=time.time(), read_seconds=time.perf_counter() - began)
            questions = unanswered(before)
            earlier = await asyncio.to_thread(self._to.jobs.first_open, questions) if questions else None
            if earlier is None:
                return turn
            job = earlier

    async def _take_turn(self, received: Received, turn: _Turn) -> Outcome:
        began = time.perf_counter()
        job, seconds = turn.job, self._to.settings.worker_lease_seconds
        outcome = await asyncio.to_thread(self._to.jobs.lease, job.job_id, self._to.worker_id, seconds)
        match outcome:
            case Lease() as lease:
                if telemetry.listening():
                    self._tell(received, turn, lease, seconds=time.perf_counter() - began)
                own = telemetry.attempt_span_id(job.job_id, lease.fence)
                with telemetry.bound(attempt=lease.job.attempts, span_id=own):
                    return await self._attempt(turn, lease)
            case Ended() as ended:
                await self._tell_again(job, ended)
                return Delete()
            case Held(expires_at):
                # By the clocks of two machines, one of which may have been set: never longer than a lease.
                wait = max(1, min(math.ceil(expires_at - time.time()), seconds))
                telemetry.log("job is held by another worker", seconds=wait)
                return Back(wait)
            case Unknown():
                await self._bury(received, Failure("unknown_job", "There is no record of this job.", retryable=False))
                return Delete()

    def _tell(self, received: Received, turn: _Turn, lease: Lease, *, seconds: float) -> None:
        now, job = time.time(), turn.job
        told_as = AttemptIds.at(job, attempt=lease.job.attempts, fence=lease.fence)
        telemetry.notify(
            JobLeased(
                job=told_as,
                at=now,
                seconds=seconds,
                message_id=received.message_id,
                receive_count=received.receive_count,
                worker_id=lease.owner,
                accepted_at=job.accepted_at,
                waited_seconds=now - job.accepted_at,
            )
        )
        telemetry.notify(
            ContextRead(
                job=told_as,
                at=turn.read_at,
                seconds=turn.read_seconds,
                messages=len(turn.before),
                characters=sum(len(message.content) for message in turn.before),
            )
        )

    async def _attempt(self, turn: _Turn, lease: Lease) -> Outcome:
        attempt = Attempt(self._to, turn.job, lease, turn.before)
        self._attempts.add(attempt)
        try:
            return await attempt.run()
        finally:
            self._attempts.discard(attempt)

    async def _tell_again(self, job: QueuedJob, ended: Ended) -> None:
        """Log the end of a job that was delivered again; the log drops it if it has it.

        Whoever ended the job may have died before all of its text was logged, so the recorded answer replaces that.
        """
        telemetry.log("job was delivered again", status=ended.job.status)
        stream = self._to.outbox.open(job, attempt=ended.job.attempts, fence=ended.fence)
        reply_id = ids.reply_id(job.message_id)
        reply = await asyncio.to_thread(self._to.history.message, job.conversation_id, reply_id)
        stream.emit("reset", reason="events_interrupted")
        if reply and reply.content:
            stream.text(reply.content)
        kind, data = last_event(
            ended.job.status,
            message_id=ended.job.reply_message_id,
            provider=ended.job.provider,
            model=ended.job.model,
            usage=ended.job.usage,
            finish=ended.job.finish,
            error=ended.job.error,
        )
        stream.emit(kind, **data)
        await stream.flushed()
        stream.close()

    async def _bury(self, received: Received, failure: Failure) -> None:
        await bury(
            self._to.dead_letters,
            received.body,
            group=received.group,
            deduplication_id=received.message_id,
            failure=failure,
            attempts=0,
            attributes=received.attributes,
        )


def _behind(outcome: Outcome) -> Outcome:
    """Return what is done with a message when this was done with an earlier turn: it has its turn, or waits at no cost."""
    match outcome:
        case Delete():
            return Again()
        case Back(seconds):
            return Back(seconds, begun=False)
        case _:
            return outcome
