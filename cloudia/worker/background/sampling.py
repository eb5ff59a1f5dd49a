"""What waits in the queue, for whoever listens: asked now and then, beside the jobs.

Each worker asks for itself: a duty that one of them has at a time would take a write of each as often, and leave the numbers of
one that died standing. Who adds workers up takes the highest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.errors import UnavailableError
from cloudia.telemetry.events import QueueSampled

if TYPE_CHECKING:
    from cloudia.cloud.orphans import Orphans
    from cloudia.cloud.queue import JobQueue

__all__ = ["Sampling"]

_SECONDS = 15.0
"""Three requests, which AWS counts, so often."""


class Sampling:
    """A worker's look at its queues. Nothing is asked where nobody listens."""

    def __init__(self, queue: JobQueue, dead_letters: JobQueue, orphans: Orphans) -> None:
        self._queue = queue
        self._dead_letters = dead_letters
        self._orphans = orphans

    async def run(self) -> None:
        """Ask and tell, until cancelled."""
        told = True
        while telemetry.listening():
            try:
                telemetry.notify(await asyncio.to_thread(self._sample))
                told = True
            except UnavailableError as error:
                if told:
                    telemetry.log("queue not sampled", level=logging.WARNING, code=error.code, reason=error.message)
                told = False
            except Exception as error:  # noqa: BLE001 - refused for good; the jobs go on
                if told:
                    telemetry.log("queue not sampled", level=logging.WARNING, exc_info=error)
                told = False
            await asyncio.sleep(_SECONDS)

    def _sample(self) -> QueueSampled:
        waiting, letters = self._queue.stats(), self._dead_letters.stats()
        since = self._orphans.oldest()
        now = time.time()
        return QueueSampled(
            at=now,
            queue=self._queue.name,
            visible=waiting.visible,
            in_flight=waiting.in_flight,
            dead_letters=letters.total,
            oldest_seconds=max(0.0, now - datetime.fromisoformat(since).timestamp()) if since else 0.0,
        )
