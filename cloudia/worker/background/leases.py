"""Leases in work: renewed at a third of their time, many at once; a lease that was lost stops its attempt."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.cloud.job_records import LostLeaseError
from cloudia.deadlines import is_late
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.cloud.job_records import Lease
    from cloudia.cloud.jobs import Jobs
    from cloudia.worker.background.refusals import Refusals

__all__ = ["Leases"]

_DOING = "leases renewed"
_AT_ONCE = 64
"""Renewals under way at once, each in a thread of its own: the most jobs of a worker, 2,000, hold leases of 60 s where a call
takes 1 s. Where calls are fast few of these threads are ever made."""


class Leases:
    """The leases that a worker holds, each with what to call when it is lost."""

    def __init__(
        self, jobs: Jobs, refusals: Refusals, *, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._jobs = jobs
        self._refusals = refusals
        self._seconds = seconds
        self._clock = clock
        self._held: dict[tuple[str, int], tuple[Lease, Callable[[], None], float]] = {}
        """By job and fence: while a renewal is under way, a job's next lease may take the place of the one before."""
        self._renewing: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="leases")

    def hold(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        """Renew a lease, just taken, from now on. `on_lost` is called once where another has the job, or it has run out."""
        self._held[_key(lease)] = (lease, on_lost, self._clock() + self._seconds)

    def drop(self, lease: Lease) -> None:
        """Renew a lease no longer."""
        self._held.pop(_key(lease), None)

    async def run(self) -> None:
        """Renew all leases, until cancelled. A renewal that takes long holds up no other."""
        expiring = asyncio.create_task(self._expire())
        try:
            while True:
                await asyncio.sleep(self._seconds / 3)
                for key, (lease, on_lost, _) in sorted(self._held.items(), key=lambda item: item[1][2]):
                    if key not in self._renewing:
                        self._renewing[key] = asyncio.create_task(self._renew(lease, on_lost))
                        self._renewing[key].add_done_callback(partial(self._renewed, key))
        finally:
            for task in (expiring, *self._renewing.values()):
                task.cancel()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _renewed(self, key: tuple[str, int], _task: asyncio.Task[None]) -> None:
        del self._renewing[key]

    async def _renew(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        job_id = lease.job.job_id
        async with self._room:
            if _key(lease) not in self._held:
                return
            until = self._clock() + self._seconds
            try:
                async with asyncio.timeout(self._seconds):
                    await asyncio.get_running_loop().run_in_executor(
                        self._threads, self._jobs.renew, lease, self._seconds
                    )
            except LostLeaseError:
                if self._held.pop(_key(lease), None):
                    telemetry.log("lease lost", level=logging.WARNING, job_id=job_id, fence=lease.fence)
                    on_lost()
            except TimeoutError:
                telemetry.log("lease not renewed", level=logging.WARNING, job_id=job_id, code="timed_out")
            except UnavailableError as error:
                self._refusals.failed(_DOING, error)
                telemetry.log("lease not renewed", level=logging.WARNING, job_id=job_id, code=error.code)
            except Exception as error:  # noqa: BLE001 - refused for good; that must not end the other jobs
                self._refusals.failed(_DOING, error)
                telemetry.log("lease not renewed", level=logging.ERROR, job_id=job_id, exc_info=error)
            else:
                self._refusals.worked(_DOING)
                if _key(lease) in self._held:
                    self._held[_key(lease)] = (lease, on_lost, until)

    async def _expire(self) -> None:
        """Stop all that works under a lease that ran out, whatever becomes of its renewal.

        Where this process was late itself renewals had no chance either; they get one. The fence guards what is written.
        """
        late = False
        while True:
            due = asyncio.get_running_loop().time() + self._seconds / 30
            await asyncio.sleep(self._seconds / 30)
            late = is_late(due) and not late
            if late:
                continue
            for key, (lease, on_lost, expires_at) in list(self._held.items()):
                if self._clock() > expires_at:
                    del self._held[key]
                    telemetry.log("lease ran out", level=logging.WARNING, job_id=lease.job.job_id, fence=lease.fence)
                    on_lost()


def _key(lease: Lease) -> tuple[str, int]:
    return lease.job.job_id, lease.fence
