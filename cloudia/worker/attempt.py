"""One attempt at one job, under its lease: answer, record, tell. What becomes of the queue message is its outcome."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cloudia import ids, telemetry
from cloudia.cloud.job_records import LostLeaseError
from cloudia.errors import CloudiaError, RefusedError, UnavailableError
from cloudia.telemetry.events import (
    AnswerRecorded,
    AttemptFailed,
    AttemptIds,
    AttemptStopped,
    FirstText,
    JobEnded,
)
from cloudia.worker.context import chat_messages
from cloudia.worker.cost import usage_of
from cloudia.worker.endings import bury, last_event
from cloudia.worker.failures import Fail, Failure, GiveUp, ResponderError, Retry, decide, describe
from cloudia.worker.providers.base import Thinking, Unsaid
from cloudia.worker.purse import Purse
from cloudia.worker.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.cloud.job_records import Lease
    from cloudia.protocol import JobStatus, Message, QueuedJob
    from cloudia.telemetry.events import StoppedBy
    from cloudia.worker.llm import Asked
    from cloudia.worker.providers.base import Piece
    from cloudia.worker.services import Services

__all__ = ["Again", "Attempt", "Back", "Delete", "Leave", "Outcome"]

_MAX_ANSWER_BYTES = 380_000
"""An item of DynamoDB holds 400 KB, in which error, usage and names have their place. A longer answer ends there."""
_MAX_REASONING = 100_000
"""Characters of reasoning that are sent; nobody reads more, and each is kept in the event log."""
_RECORD_TRIES = 6
_CANCEL_SECONDS = 1.0
_CANCEL_TRIES = 5

StopReason: TypeAlias = Literal["cancelled", "lost", "draining"]


@dataclass(frozen=True, slots=True)
class Delete:
    """The job has ended: delete its message."""


@dataclass(frozen=True, slots=True)
class Back:
    """Hand the message back; it is received again after `seconds`."""

    seconds: int
    begun: bool = True
    """Whether an attempt was made, or is made by another worker."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The message is another worker's by now."""


@dataclass(frozen=True, slots=True)
class Again:
    """An earlier turn of the conversation has ended: take the message once more."""


Outcome: TypeAlias = Delete | Back | Leave | Again


class Attempt:
    """One attempt at the turn that follows the messages `before`. `run` it once; `stop` it at any time."""

    def __init__(self, services: Services, job: QueuedJob, lease: Lease, before: Sequence[Message]) -> None:
        self._to = services
        self._job = job
        self._lease = lease
        self._before = before
        self._began = time.time()
        self._first_text: float | None = None
        self._text: list[str] = []
        self._room = _MAX_ANSWER_BYTES
        self._cancelled = asyncio.Event()
        self._started = time.perf_counter()
        self._number = min(lease.job.attempts, services.settings.worker_max_attempts)
        """Which attempt it is, as it is told everywhere. A lease beyond the last one is taken only to end the job."""
        self._told_as = AttemptIds.at(job, attempt=self._number, fence=lease.fence)
        self._llm = services.llm.call(job_id=job.job_id, attempt=self._number, model=job.model, told_as=self._told_as)
        self._stream = services.outbox.open(job, attempt=self._number, fence=lease.fence)
        self._stream.on_stale = lambda: self.stop("lost")
        self._llm.on_sign = self._sign
        self._purse = Purse(services.jobs, lease, services.costs, services.budgets)
        self._llm.on_request = self._pay
        self._deadline: asyncio.Timeout | None = None
        self._cut = False
        """Whether the answer was longer than can be recorded."""
        self._thought = 0
        """Characters of reasoning that were sent to the client."""
        self._thinks = False
        self._stopped: asyncio.Future[StopReason] = asyncio.get_running_loop().create_future()

    def stop(self, reason: StopReason) -> None:
        """Break the attempt off: the user asked for it, the lease is lost, or the worker ends."""
        if not self._stopped.done():
            self._stopped.set_result(reason)

    async def run(self) -> Outcome:
        """Make the attempt. Whatever fails in it ends in an outcome."""
        self._to.leases.hold(self._lease, lambda: self.stop("lost"))
        self._to.cancels.watch(self._job.job_id, lambda: self.stop("cancelled"))
        try:
            return await self._run()
        except LostLeaseError:
            telemetry.log("another worker has the job", level=logging.WARNING)
            self._tell_stopped("lost")
            return Leave()
        except UnavailableError as error:
            # The lease runs out by itself, the message comes back, and whoever takes it sees what was recorded.
            telemetry.log("outcome not recorded", level=logging.ERROR, code=error.code, reason=error.message)
            self._tell_stopped("not_recorded")
            return Back(2)
        finally:
            self._to.leases.drop(self._lease)
            self._to.cancels.drop(self._job.job_id)
            self._stream.close()

    async def _run(self) -> Outcome:
        most = self._to.settings.worker_max_attempts
        if self._lease.fence > 1:  # The first attempt after a redrive is not the first that a client sees.
            self._stream.emit("reset", reason="new_attempt", max_attempts=most, **self._trace)
        if self._lease.job.attempts > most:
            # Every attempt was begun and none came to an end: this job takes its workers down with it.
            return await self._give_up(Failure("worker_lost", "The worker died at this job, each time."))
        if self._lease.job.cancel_requested:
            return await self._break_off("cancelled")
        work = asyncio.create_task(self._answer())
        either: set[asyncio.Future[Any]] = {work, self._stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(_CANCEL_TRIES):  # Python 3.11's wait_for may swallow a cancellation; so may a responder.
            if work.done():
                break
            work.cancel()
            await asyncio.wait({work}, timeout=_CANCEL_SECONDS)
        if not work.done():
            telemetry.log("the responder does not stop", level=logging.ERROR)
            return await self._break_off(self._stopped.result())
        if not work.cancelled() and work.exception() is None:
            return await self._succeed()
        if self._stopped.done():
            return await self._break_off(self._stopped.result())
        error = work.exception() or asyncio.CancelledError()
        return await self._fail(error)

    @property
    def _trace(self) -> dict[str, str]:
        """What lets a gateway, and a client, tell the trace that a job's events belong to."""
        return {"traceparent": self._job.traceparent} if self._job.traceparent else {}

    async def _answer(self) -> None:
        """Stream the answer into `_text` and to the client."""
        most = self._to.settings.worker_max_attempts
        if self._lease.fence == 1:
            message_id = ids.reply_id(self._job.message_id)
            self._stream.emit("started", message_id=message_id, max_attempts=most, **self._trace)
        turn = Turn(
            job_id=self._job.job_id,
            conversation_id=self._job.conversation_id,
            user_id=self._job.user_id,
            attempt=self._lease.job.attempts,
            messages=chat_messages(self._to.contexts.beside(self._job, self._before), self._job),
            llm=self._llm,
            cancelled=self._cancelled,
            traceparent=self._job.traceparent,
        )
        try:
            await self._stream_answer(turn)
        except CloudiaError as error:
            raise ResponderError(type(error)) from error

    async def _stream_answer(self, turn: Turn) -> None:
        """Take what the responder yields, into `_text` and to the client."""
        async with (
            asyncio.timeout(self._to.settings.llm_answer_seconds) as self._deadline,
            aclosing(self._to.responder(turn)) as pieces,  # type: ignore[type-var]
        ):
            async for piece in pieces:
                if self._first_text is None:
                    self._first_text = time.time()
                    if telemetry.listening():
                        telemetry.notify(FirstText(job=self._told_as, at=self._first_text, seconds=self._seconds()))
                encoded = piece.encode()
                whole = len(encoded) <= self._room
                fits = piece if whole else encoded[: self._room].decode(errors="ignore")
                self._room -= len(encoded) if whole else len(fits.encode())
                self._text.append(fits)
                self._stream.text(fits)
                if not whole:
                    telemetry.log("answer cut", level=logging.WARNING, bytes=_MAX_ANSWER_BYTES - self._room)
                    self._cut = True
                    break

    async def _pay(self, asked: Asked) -> None:
        await self._purse.ask(asked, self._llm.under_way, self._llm.spent_by_those_over)

    def _sign(self, piece: Piece) -> None:
        """Take a sign of life of the LLM's. Until the first text each one begins the answer's time anew."""
        if self._first_text is None and self._deadline and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._to.settings.llm_answer_seconds)
        if isinstance(piece, Unsaid):
            self._take_back(piece.text)
        if not isinstance(piece, Thinking):
            self._thinks = self._thinks and not isinstance(piece, str)
            return
        if self._to.settings.llm_show_reasoning and self._thought < _MAX_REASONING:
            self._thought += len(piece.text)
            self._stream.thinking(piece.text)
        elif not self._thinks:
            self._stream.emit("thinking")
        self._thinks = True

    def _take_back(self, text: str) -> None:
        """Take from the answer's end what was no part of it. What a responder has changed is its own, and stays."""
        answer = "".join(self._text)
        if not answer.endswith(text):
            telemetry.log("reasoning is in the answer", level=logging.WARNING, provider=self._llm.route.provider.name)
            return
        self._text = [answer.removesuffix(text)]
        self._room += len(text.encode())
        self._stream.begin_anew(self._text[0], reason="reasoning")

    async def _succeed(self) -> Outcome:
        reply = await self._end("done")
        await self._to.contexts.remember(self._job, self._before, reply)
        return Delete()

    async def _break_off(self, reason: StopReason) -> Outcome:
        if reason == "cancelled":
            self._cancelled.set()
            await self._end("cancelled")
            return Delete()
        if reason == "lost":
            self._tell_stopped("lost")
            return Leave()
        await asyncio.to_thread(self._to.jobs.release, self._lease, **self._effort())
        self._tell_stopped("draining")
        return Back(0)

    async def _fail(self, error: BaseException) -> Outcome:
        failure = describe(error)
        attempt = self._lease.job.attempts
        unforeseen = failure.code == "responder_failed"
        decision = decide(
            failure,
            attempt=attempt,
            max_attempts=self._to.settings.worker_max_attempts,
            random=random.random,
            max_wait=self._to.settings.llm_max_wait_seconds,
        )
        telemetry.notify(
            AttemptFailed(
                job=self._told_as,
                at=time.time(),
                seconds=self._seconds(),
                code=failure.code,
                reason=failure.hint,
                decision=type(decision).__name__,
                delay=decision.delay if isinstance(decision, Retry) else None,
                max_attempts=self._to.settings.worker_max_attempts,
            ),
            exc_info=error if unforeseen else None,
        )
        match decision:
            case Retry(delay):
                effort = self._effort()
                await asyncio.to_thread(
                    self._to.jobs.release, self._lease, error=failure.to_json(), delay=delay, **effort
                )
                return Back(delay)
            case Fail():
                self._text.clear()
                await self._end("failed", failure)
                return Delete()
            case GiveUp():
                return await self._give_up(failure)

    async def _give_up(self, failure: Failure) -> Outcome:
        # The letter first: if the worker dies between the two, the next attempt writes it once more and is swallowed.
        # The fence grows with each attempt and, unlike their count, is kept when the job is redriven: so the difference is
        # the same for all attempts between two redrives, and another one after.
        await bury(
            self._to.dead_letters,
            self._job.encode(),
            group=self._job.conversation_id,
            deduplication_id=f"{self._job.job_id}-{self._lease.fence - self._lease.job.attempts}",
            failure=failure,
            attempts=self._number,
            traceparent=self._job.traceparent,
        )
        self._text.clear()
        await self._end("dead_lettered", failure)
        return Delete()

    async def _end(self, status: JobStatus, failure: Failure | None = None) -> Message:
        """Record how the job ended, then tell it."""
        effort = self._effort()
        reply = await self._record(
            status,
            content="".join(self._text),
            error=failure.to_json() if failure else None,
            counts=self._number == self._lease.job.attempts,
            **effort,
        )
        self._to.leases.drop(self._lease)
        telemetry.notify(
            JobEnded(
                job=self._told_as,
                at=time.time(),
                accepted_at=self._job.accepted_at,
                began_at=self._began,
                first_text_at=self._first_text,
                status=status,
                code=failure.code if failure else None,
                provider=self._llm.route.provider.name,
                model=self._llm.model,
                usage=effort["usage"],
                finish=self._finish,
                llm_calls=self._llm.calls,
            )
        )
        kind, data = last_event(
            status,
            message_id=reply.message_id,
            provider=self._llm.route.provider.name,
            model=reply.model,
            usage=reply.usage,
            finish=reply.finish,
            error=reply.error,
        )
        self._stream.emit(kind, **data)
        await self._stream.flushed()
        return reply

    def _effort(self) -> dict[str, Any]:
        """Return what the attempt used so far, for its job's record, and what the job holds after it."""
        return {
            "provider": self._llm.route.provider.name,
            "model": self._llm.model,
            "usage": self._usage(),
            "finish": self._finish,
            "first_text_at": round(self._first_text, 3) if self._first_text else None,
            "llm_calls": self._llm.calls,
            "switches": self._llm.switches or None,
            "hold": self._purse.after(self._llm.under_way, self._llm.spent_by_those_over),
        }

    @property
    def _finish(self) -> str | None:
        return "length" if self._cut else self._llm.finish

    def _usage(self) -> dict[str, float] | None:
        """Return the tokens that were used, whatever became of the answer, and what they cost where that is known."""
        spent = self._llm.spent
        return usage_of(spent, self._to.costs.cost(spent))

    async def _record(self, status: JobStatus, **fields: Any) -> Message:
        began = time.perf_counter()
        for attempt in range(_RECORD_TRIES):
            try:
                reply = await asyncio.to_thread(self._to.jobs.finish, self._lease, status, **fields)
            except UnavailableError as error:
                if attempt == _RECORD_TRIES - 1 or isinstance(error, RefusedError):
                    raise
                telemetry.log("answer not recorded yet", level=logging.WARNING, code=error.code)
                await asyncio.sleep(0.2 * 2**attempt)
            else:
                if telemetry.listening():
                    self._tell_recorded(reply, tries=attempt + 1, seconds=time.perf_counter() - began)
                return reply
        raise AssertionError

    # --- telling ---------------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        """Return the seconds since the attempt began."""
        return time.perf_counter() - self._started

    def _tell_stopped(self, reason: StoppedBy) -> None:
        if telemetry.listening():
            telemetry.notify(AttemptStopped(job=self._told_as, at=time.time(), seconds=self._seconds(), reason=reason))

    def _tell_recorded(self, reply: Message, *, tries: int, seconds: float) -> None:
        telemetry.notify(
            AnswerRecorded(
                job=self._told_as,
                at=time.time(),
                seconds=seconds,
                status=reply.status or "done",
                tries=tries,
                content_bytes=len(reply.content.encode()),
            )
        )
