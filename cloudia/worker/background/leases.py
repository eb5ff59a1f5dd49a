"""Leases in work: renewed at a third of their time; a lease that was lost stops its attempt."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.cloud.jobs import LostLeaseError
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.cloud.jobs import Jobs, Lease

__all__ = ["Leases"]


class Leases:
    """The leases that a worker holds, each with what to call when it is lost."""

    def __init__(self, jobs: Jobs, *, seconds: float) -> None:
        self._jobs = jobs
        self._seconds = seconds
        self._held: dict[str, tuple[Lease, Callable[[], None], float]] = {}

    def hold(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        """Renew a lease from now on."""
        self._held[lease.job.job_id] = (lease, on_lost, lease.expires_at)

    def drop(self, lease: Lease) -> None:
        """Renew a lease no longer."""
        self._held.pop(lease.job.job_id, None)

    async def run(self) -> None:
        """Renew all leases, until cancelled."""
        while True:
            await asyncio.sleep(self._seconds / 3)
            for lease, on_lost, expires_at in list(self._held.values()):
                await self._renew(lease, on_lost, expires_at)

    async def _renew(self, lease: Lease, on_lost: Callable[[], None], expires_at: float) -> None:
        job_id = lease.job.job_id
        if job_id not in self._held:
            return
        try:
            until = time.time() + self._seconds
            await asyncio.to_thread(self._jobs.renew, lease, self._seconds)
        except LostLeaseError:
            if job_id in self._held:
                del self._held[job_id]
                telemetry.log("lease lost", level=logging.WARNING, job_id=job_id, fence=lease.fence)
                on_lost()
        except UnavailableError as error:
            telemetry.log("lease not renewed", level=logging.WARNING, job_id=job_id, code=error.code)
            if time.time() > expires_at and job_id in self._held:
                del self._held[job_id]
                on_lost()
        else:
            if job_id in self._held:
                self._held[job_id] = (lease, on_lost, until)
