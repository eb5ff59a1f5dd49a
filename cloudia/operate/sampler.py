"""Looks at a stack, wherever it runs: who is alive, what its queues hold, and which jobs ended, by their records."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from cloudia.cloud.job_index import ENDS
from cloudia.errors import UnavailableError
from cloudia.operate.samples import Sample, ended_job
from cloudia.operate.waterfall import lines, waterfall

if TYPE_CHECKING:
    from cloudia.cloud.cloud import Cloud
    from cloudia.cloud.queue import JobQueue, QueueStats
    from cloudia.operate.samples import EndedJob

__all__ = ["StackSampler"]

_MOST = 200
"""Jobs of each end that one sample takes at most, the newest."""
_LOOK_BACK_SECONDS = 30.0
"""An index is behind its table for a moment, and two workers' clocks differ: what was seen is dropped instead."""


class StackSampler:
    """Samples of one stack, each with the jobs that ended since the one before; the first has the last of all."""

    def __init__(self, cloud: Cloud) -> None:
        self._to = cloud
        self._since = 0.0
        self._seen: set[tuple[str, str]] = set()

    def sample(self) -> Sample:
        """Look at the stack. What cannot be asked now is None, and `state` says why."""
        state, health = "unavailable", None
        jobs: tuple[EndedJob, ...] = ()
        try:
            health = {"workers": self._to.presence.alive("worker"), "gateways": self._to.presence.alive("gateway")}
            state = "ready" if health["workers"] else "without a worker"
            jobs = tuple(self._ended())
        except UnavailableError as error:
            state = error.code.replace("_", " ")
        waiting, letters = _stats(self._to.queue), _stats(self._to.dead_letters)
        return Sample(
            at=time.monotonic(),
            state=state,
            parts=(),
            visible=waiting.visible if waiting else None,
            in_flight=waiting.in_flight if waiting else None,
            dead_letters=letters.total if letters else None,
            health=health,
            jobs=jobs,
        )

    def trace(self, job_id: str) -> list[str]:
        """Return a job's waterfall, by its record; nothing where there is no such job."""
        job = self._to.jobs.records([job_id]).get(job_id)
        return list(lines(waterfall(job, now=time.time()))) if job else []

    def _ended(self) -> list[EndedJob]:
        """Return the jobs that ended since the last time, in the order of their ends."""
        now = time.time()
        found = {entry for state in ENDS for entry in self._to.jobs.in_state(state, since=self._since, most=_MOST)}
        records = self._to.jobs.records(job_id for job_id, _ in found - self._seen).values()
        self._seen = found
        if found:
            # By the clock that is behind, ours or the workers': so nothing is passed over.
            newest = max(datetime.fromisoformat(since).timestamp() for _, since in found)
            self._since = max(self._since, min(now, newest) - _LOOK_BACK_SECONDS)
        return sorted((ended_job(job) for job in records if job.ended), key=lambda job: job.time)


def _stats(queue: JobQueue) -> QueueStats | None:
    try:
        return queue.stats()
    except UnavailableError:
        return None
