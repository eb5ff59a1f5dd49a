"""Reconciling on a schedule: of all workers of a stack one does it, each time the one that comes first."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from cloudia.cloud.presence import Presence
    from cloudia.operate.reconciler import Reconciler

__all__ = ["Reconciling"]

_PART = 5
"""A job is found within this part of the time after which it counts as left behind."""


class Reconciling:
    """A worker's part in looking after the jobs that nobody has."""

    def __init__(self, reconciler: Reconciler, presence: Presence, *, worker_id: str, after_seconds: float) -> None:
        self._reconciler = reconciler
        self._presence = presence
        self._worker_id = worker_id
        self._interval = after_seconds / _PART
        self._stopping = threading.Event()

    async def run(self) -> None:
        """Reconcile, until cancelled; what is under way then ends with the job that it is at."""
        try:
            await self._run()
        finally:
            self._stopping.set()

    async def _run(self) -> None:
        told = True
        while True:
            await asyncio.sleep(self._interval)
            try:
                await asyncio.to_thread(self._reconcile)
                told = True
            except UnavailableError as error:
                if told:
                    telemetry.log("jobs not reconciled", level=logging.WARNING, code=error.code)
                told = False
            except Exception as error:  # noqa: BLE001 - refused for good; the jobs in work go on
                if told:
                    telemetry.log("jobs not reconciled", level=logging.ERROR, exc_info=error)
                told = False

    def _reconcile(self) -> None:
        if not self._presence.take_duty("reconciler", self._worker_id, self._interval):
            return
        for done in self._reconciler.run():
            telemetry.log(
                "job was left behind",
                level=logging.WARNING,
                job_id=done.job_id,
                then=done.outcome,
                seconds=round(done.quiet_seconds),
                times=done.resends,
            )
            if self._stopping.is_set():
                return
