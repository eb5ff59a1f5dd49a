"""The worker: polls for no more than it has room for, and answers each conversation's messages one after another."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from cloudia import __version__, telemetry
from cloudia.cloud.presence import BEAT_SECONDS
from cloudia.cloud.queue import BATCH
from cloudia.errors import InvalidRequestError, UnavailableError
from cloudia.protocol import QueuedJob
from cloudia.telemetry.events import MessageReceived, WorkerSampled
from cloudia.worker.attempt import Again, Back, Delete, Leave
from cloudia.worker.delivery import Deliveries
from cloudia.worker.load import Load
from cloudia.worker.probes import serve_probes
from cloudia.worker.shares import Shares

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from cloudia.cloud.queue import Received
    from cloudia.worker.attempt import Outcome
    from cloudia.worker.services import Services

__all__ = ["Worker"]

_FIRST_BACKOFF, _LAST_BACKOFF = 0.25, 10.0
_FLUSH_SECONDS = 2.0
_HAND_BACK_SECONDS = 15.0
"""How long the worker takes to hand back what it could not finish, before it leaves that to visibility and lease."""
_HEAVY_SECONDS = 0.1
"""How soon a worker that takes no more looks whether it can again."""
_STALE_SECONDS = 30.0
"""A poll that has not finished this long after it should have is a worker that hangs."""


class Worker:
    """One worker process. `run` returns once it was stopped and everything was finished or handed back."""

    def __init__(self, services: Services, *, metrics: Callable[[], bytes] | None = None) -> None:
        self._to = services
        self._metrics = metrics
        """Makes what Prometheus reads, where it is to."""
        self._deliveries = Deliveries(services)
        self._lanes: dict[str, deque[Received]] = {}
        self._shares = Shares(services.settings.worker_concurrency)
        self._load = Load()
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._full = False
        self._polled_at: float | None = None
        """Epoch seconds, for those who look; what is measured here is measured by the monotonic clock."""
        self._poll_ended = 0.0

    def stop(self) -> None:
        """Stop polling and finish what can be finished in the grace time. A second call hands everything back at once."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()
        self._shares.open()
        self._room.set()

    async def run(self) -> None:
        """Work until stopped."""
        telemetry.log("worker started", worker_id=self._to.worker_id, model=self._to.llm.routes[0].model)
        settings = self._to.settings
        probes = serve_probes(
            settings.worker_probe_host,
            settings.worker_probe_port,
            poll_age=self._poll_age,
            refused=lambda: {} if self._stopping.is_set() else self._to.refusals.told(),
            stale=settings.worker_poll_seconds + _STALE_SECONDS,
            metrics=self._metrics,
        )
        async with probes, asyncio.TaskGroup() as group:
            to = self._to
            services = (to.receipts, to.leases, to.cancels, to.outbox, to.reconciling, to.sampling)
            background = [
                group.create_task(work) for work in (*(each.run() for each in services), self._load.run(), self._beat())
            ]
            await self._poll()
            await self._drain()
            for task in background:
                task.cancel()
        await self._leave()
        telemetry.log("worker stopped")

    # --- polling ---------------------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        backoff = _FIRST_BACKOFF
        settings = self._to.settings
        while not self._stopping.is_set():
            # Where one user has most of the places, more is received, to see whether others wait behind.
            waiting = settings.worker_waiting if self._shares.uneven else 0
            room = settings.worker_concurrency + waiting - len(self._to.receipts)
            if room <= 0:
                self._room.clear()
                self._full = True
                await self._room.wait()
                self._full = False
                continue
            if self._load.heavy and self._shares.in_work:
                self._full = True
                await self._pause(_HEAVY_SECONDS)
                self._full = False
                continue
            try:
                received = await asyncio.to_thread(
                    self._to.queue.receive,
                    most=min(room, BATCH),
                    # The first poll returns at once: a worker counts as ready when it has polled.
                    wait_seconds=settings.worker_poll_seconds if self._polled_at else 0,
                    visibility_seconds=settings.worker_visibility_seconds,
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, somebody may mend it, and jobs in work go on
                self._to.refusals.failed("messages received", error)
                if backoff == _FIRST_BACKOFF and isinstance(error, UnavailableError):
                    telemetry.log("queue is away", level=logging.WARNING, code=error.code, reason=error.message)
                await self._pause(backoff * (1 + random.random()))  # noqa: S311
                backoff = min(backoff * 2, _LAST_BACKOFF)
                continue
            if backoff != _FIRST_BACKOFF:
                telemetry.log("queue is back")
                backoff = _FIRST_BACKOFF
            self._to.refusals.worked("messages received")
            if self._polled_at is None:
                telemetry.log("worker ready")
            self._polled_at, self._poll_ended = time.time(), time.monotonic()
            self._accept(received)

    def _poll_age(self) -> float | None:
        """Return the seconds since the last finished poll; a worker that is full polls as soon as there is room."""
        if self._polled_at is None or self._stopping.is_set():
            return None
        return 0.0 if self._full else time.monotonic() - self._poll_ended

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _accept(self, received: list[Received]) -> None:
        """Put messages into the lanes of their conversations."""
        self._to.receipts.hold(message.receipt for message in received)
        if telemetry.listening():
            self._tell(received)
        for message in received:
            lane = self._lanes.get(message.group)
            if lane is None:
                lane = self._lanes[message.group] = deque()
                self._start(self._work(message.group, lane))
            lane.append(message)

    def _tell(self, received: list[Received]) -> None:
        for message in received:
            telemetry.notify(
                MessageReceived(
                    message_id=message.message_id,
                    group=message.group,
                    queue=self._to.queue.name,
                    worker_id=self._to.worker_id,
                    at=time.time(),
                    receive_count=message.receive_count,
                    body_bytes=len(message.body.encode()),
                )
            )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- one conversation ------------------------------------------------------------------------------------------

    async def _work(self, conversation: str, lane: deque[Received]) -> None:
        """Answer a conversation's messages. One that goes back takes those behind it along, untouched."""
        receipts = self._to.receipts
        try:
            while lane:
                if self._stopping.is_set():
                    await self._hand_back(lane, 0)
                    continue
                message = lane[0]
                async with self._shares.place(_user(message)):
                    self._room.set()  # There may be more to hold now than places.
                    outcome = Back(0) if self._stopping.is_set() else await self._take(message)
                match outcome:
                    case Again():
                        continue
                    case Delete():
                        await receipts.delete(message.receipt)
                        lane.popleft()
                        self._room.set()
                    case Back(seconds, begun):
                        await self._hand_back(lane, seconds, begun=1 if begun else 0)
                    case Leave():
                        receipts.forget(message.receipt)
                        lane.popleft()
                        await self._hand_back(lane, 0)
        finally:
            for message in lane:
                receipts.forget(message.receipt)
            del self._lanes[conversation]
            self._room.set()

    async def _take(self, message: Received) -> Outcome:
        try:
            return await self._deliveries.take(message)
        except UnavailableError as error:
            telemetry.log("job not begun", level=logging.WARNING, code=error.code, reason=error.message)
            return Back(2, begun=False)
        except Exception as error:  # noqa: BLE001 - a bug in one job must not end the others
            telemetry.log("job not begun", level=logging.ERROR, exc_info=error)
            return Back(30)

    async def _hand_back(self, lane: deque[Received], seconds: int, *, begun: int = 0) -> None:
        """Hand a lane's messages back. The first `begun` count their receives, the others have no part in them.

        What joins the lane meanwhile was received after that, and stays in it.

        What others than a job itself have it received for may not make it a dead letter: where that was often, its message
        is sent anew, and stands behind the others; the history says whose turn it is.
        """
        messages, receipts = list(lane), self._to.receipts
        lane.clear()
        worn = [message for message in messages[begun:] if self._to.queue.worn(message)]
        anew: list[Received] = []
        if worn:
            try:
                anew = await asyncio.to_thread(self._to.queue.send_anew, worn)
            except UnavailableError as error:  # They are handed back as the others, and sent anew the next time.
                telemetry.log("messages not sent anew", level=logging.WARNING, count=len(worn), code=error.code)
        await receipts.hand_back([message.receipt for message in messages if message not in anew], seconds)
        await asyncio.gather(*(receipts.delete(message.receipt) for message in anew))

    # --- signs of life, and the end --------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Say what the worker does, from its first poll on."""
        told = True
        while True:
            await asyncio.sleep(BEAT_SECONDS if self._polled_at else 0.02)
            if self._polled_at is None:
                continue
            if telemetry.listening():
                routes = tuple(route.sample for route in self._to.llm.routes)
                telemetry.notify(WorkerSampled(at=time.time(), in_work=self._shares.in_work, routes=routes))
            try:
                await asyncio.to_thread(
                    self._to.presence.beat,
                    "worker",
                    self._to.worker_id,
                    version=__version__,
                    pid=os.getpid(),
                    polled_at=self._polled_at,
                    in_work=self._shares.in_work,
                    routes=[route.to_json() for route in self._to.llm.routes],
                )
                told = True
                self._to.refusals.worked("presence recorded")
            except Exception as error:  # noqa: BLE001 - nobody sees this worker; its jobs go on
                self._to.refusals.failed("presence recorded", error)
                if told and isinstance(error, UnavailableError):
                    telemetry.log("presence not recorded", level=logging.WARNING, code=error.code)
                told = False

    async def _drain(self) -> None:
        """Let attempts finish in the grace time, hand the rest back."""
        settings = self._to.settings
        if self._tasks:
            telemetry.log("finishing", jobs=len(self._tasks), seconds=settings.worker_grace_seconds)
        hurry = asyncio.create_task(self._hurry.wait())
        finished = asyncio.create_task(self._finished())
        await asyncio.wait(
            {hurry, finished}, timeout=settings.worker_grace_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        self._deliveries.interrupt()
        await asyncio.wait({finished}, timeout=_HAND_BACK_SECONDS)
        if not finished.done():
            telemetry.log("left behind; the queue gives it out again", level=logging.ERROR, lanes=len(self._tasks))
            finished.cancel()
            for task in self._tasks:
                task.cancel()
        hurry.cancel()
        await self._to.outbox.drain(_FLUSH_SECONDS)

    async def _finished(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _leave(self) -> None:
        with suppress(Exception):  # The record expires by itself.
            await asyncio.to_thread(self._to.presence.leave, "worker", self._to.worker_id)
        await self._to.aclose()


def _user(message: Received) -> str:
    """Return whose message it is; one that is no job counts for itself."""
    try:
        return QueuedJob.decode(message.body).user_id
    except InvalidRequestError:
        return message.group
