"""Cancellation: asks DynamoDB which of the jobs in work somebody wants stopped, all of them in one request."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.cloud.jobs import Jobs

__all__ = ["Cancels"]

_POLL_SECONDS = 0.5


class Cancels:
    """The jobs in work, each with what to call when it shall stop."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._watched: dict[str, Callable[[], None]] = {}

    def watch(self, job_id: str, on_cancel: Callable[[], None]) -> None:
        """Call `on_cancel` once when somebody asks for this job to stop."""
        self._watched[job_id] = on_cancel

    def drop(self, job_id: str) -> None:
        """Watch a job no longer."""
        self._watched.pop(job_id, None)

    async def run(self) -> None:
        """Watch until cancelled. Idle while there is nothing to watch."""
        refused = False
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            if not self._watched:
                continue
            try:
                wanted = await asyncio.to_thread(self._jobs.cancel_requested, list(self._watched))
            except UnavailableError as error:
                telemetry.log("cancel flags not read", level=logging.DEBUG, code=error.code)
                continue
            except Exception as error:  # noqa: BLE001 - refused for good; the jobs go on, they only cannot be stopped
                if not refused:
                    telemetry.log("cancel flags not read", level=logging.ERROR, exc_info=error)
                refused = True
                continue
            refused = False
            for job_id in wanted:
                on_cancel = self._watched.pop(job_id, None)
                if on_cancel:
                    on_cancel()
