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

    def __init__(self, jobs: Jobs, *, seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._jobs = jobs
        self._seconds = seconds
        self._clock = clock
        self._held: dict[tuple[str, int], tuple[Lease, Callable[[], None], float]] = {}
        """By job and fence: while a renewal is under way, a job's next lease may take the place of the one before."""

    def hold(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        """Renew a lease from now on. `on_lost` is called once where another has the job, or it could not be renewed in time."""
        self._held[_key(lease)] = (lease, on_lost, lease.expires_at)

    def drop(self, lease: Lease) -> None:
        """Renew a lease no longer."""
        self._held.pop(_key(lease), None)

    async def run(self) -> None:
        """Renew all leases, until cancelled."""
        while True:
            await asyncio.sleep(self._seconds / 3)
            for lease, on_lost, _ in list(self._held.values()):
                await self._renew(lease, on_lost)

    async def _renew(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        if _key(lease) not in self._held:
            return
        job_id = lease.job.job_id
        try:
            until = self._clock() + self._seconds
            await asyncio.to_thread(self._jobs.renew, lease, self._seconds)
        except LostLeaseError:
            if self._held.pop(_key(lease), None):
                telemetry.log("lease lost", level=logging.WARNING, job_id=job_id, fence=lease.fence)
                on_lost()
        except UnavailableError as error:
            telemetry.log("lease not renewed", level=logging.WARNING, job_id=job_id, code=error.code)
            self._give_up_expired()
        except Exception as error:  # noqa: BLE001 - refused for good; that must not end the other jobs
            telemetry.log("lease not renewed", level=logging.ERROR, job_id=job_id, exc_info=error)
            self._give_up_expired()
        else:
            if _key(lease) in self._held:
                self._held[_key(lease)] = (lease, on_lost, until)

    def _give_up_expired(self) -> None:
        """Stop all that works under a lease that ran out: its own turn may come late where each renewal takes long to fail."""
        for key, (_, on_lost, expires_at) in list(self._held.items()):
            if self._clock() > expires_at:
                del self._held[key]
                on_lost()


def _key(lease: Lease) -> tuple[str, int]:
    return lease.job.job_id, lease.fence
