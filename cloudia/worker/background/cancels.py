"""Cancellation: which of the jobs in work somebody wants stopped, as their records say, all of them in one request.

Redis says at once when there is something to see; a slow poll sees what Redis did not tell.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cloudia.cloud.jobs import Jobs
    from cloudia.cloud.stops import Stops

__all__ = ["Cancels"]

_FIRST_BACKOFF, _LAST_BACKOFF = 0.1, 2.0


class Cancels:
    """The jobs in work, each with what to call when it shall stop."""

    def __init__(self, jobs: Jobs, stops: Stops | None, *, poll_seconds: float) -> None:
        self._jobs = jobs
        self._stops = stops
        self._poll_seconds = poll_seconds
        self._watched: dict[str, Callable[[], None]] = {}
        self._told: set[str] = set()
        """Those of them that Redis told of and that were not looked at since."""
        self._wake = asyncio.Event()
        self._refused = False

    def watch(self, job_id: str, on_cancel: Callable[[], None]) -> None:
        """Call `on_cancel` once when somebody asks for this job to stop."""
        self._watched[job_id] = on_cancel

    def drop(self, job_id: str) -> None:
        """Watch a job no longer."""
        self._watched.pop(job_id, None)

    async def run(self) -> None:
        """Watch until cancelled. Idle while there is nothing to watch."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._poll())
            if self._stops:
                group.create_task(self._listen(self._stops))
                group.create_task(self._follow())

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            await self._look(self._watched)

    async def _follow(self) -> None:
        """Look at what Redis told of. What it tells of meanwhile is one request, the next."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            told, self._told = self._told, set()
            await self._look(told)

    async def _listen(self, stops: Stops) -> None:
        """Hear what Redis tells. While it is away the poll is all there is."""
        subscribed, backoff = asyncio.Event(), _FIRST_BACKOFF
        while True:
            try:
                async with aclosing(stops.published(subscribed=subscribed)) as published:
                    async for job_id in published:
                        backoff = _FIRST_BACKOFF
                        if job_id in self._watched:
                            self._told.add(job_id)
                            self._wake.set()
            except UnavailableError as error:
                if backoff == _FIRST_BACKOFF:
                    telemetry.log("stops are polled for", level=logging.WARNING, code=error.code, reason=error.message)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _LAST_BACKOFF)

    async def _look(self, job_ids: Iterable[str]) -> None:
        """Stop those of these jobs that are watched and whose record says so."""
        asked = [job_id for job_id in job_ids if job_id in self._watched]
        if not asked:
            return
        try:
            wanted = await asyncio.to_thread(self._jobs.cancel_requested, asked)
        except UnavailableError as error:
            telemetry.log("cancel flags not read", level=logging.DEBUG, code=error.code)
            return
        except Exception as error:  # noqa: BLE001 - refused for good; the jobs go on, they only cannot be stopped
            if not self._refused:
                telemetry.log("cancel flags not read", level=logging.ERROR, exc_info=error)
            self._refused = True
            return
        self._refused = False
        for job_id in wanted:
            on_cancel = self._watched.pop(job_id, None)
            if on_cancel:
                on_cancel()
