"""Samples of a local stack: its parts, its queues, and the jobs that its workers logged as ended."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from cloudia.cloud.aws import Aws
from cloudia.cloud.queue import JobQueue
from cloudia.errors import UnavailableError
from cloudia.local.health import look
from cloudia.local.tail import Tail, in_order
from cloudia.settings import from_environment
from cloudia.stack import Stack
from cloudia.tui.samples import EndedJob, PartSample, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudia.cloud.queue import QueueStats
    from cloudia.local.project import Project
    from cloudia.local.run_file import PartRecord, RunFile

__all__ = ["LocalSampler"]

_FIRST_LINES = 2000
"""Lines of each worker's log that are read at first."""


class LocalSampler:
    """Looks at the stack that runs in a project. `render` makes a log line readable."""

    def __init__(self, project: Project, render: Callable[[str, str], str]) -> None:
        self._project = project
        self._render = render
        settings = from_environment(project.require_run().environment)
        sqs, stack = Aws(settings).sqs, Stack(settings.stack_name)
        self._jobs, self._letters = JobQueue(sqs, stack.jobs_queue), JobQueue(sqs, stack.dead_letters)
        self._tails: dict[str, Tail] = {}

    def sample(self) -> Sample:
        """Look at the stack. `NoStackError` where it does not run any more."""
        seen = look(self._project)
        jobs, letters = _stats(self._jobs), _stats(self._letters)
        return Sample(
            at=time.monotonic(),
            state=seen.run.state,
            parts=tuple(_part(name, part, seen.resident_bytes[name]) for name, part in seen.run.parts.items()),
            visible=jobs.visible if jobs else None,
            in_flight=jobs.in_flight if jobs else None,
            dead_letters=letters.total if letters else None,
            health=seen.health,
            jobs=tuple(self._ended(seen.run)),
        )

    def trace(self, job_id: str) -> list[str]:
        """Return the log lines of all parts about a job, in the order of their times."""
        found = []
        for path in sorted(self._project.logs.glob("*.log")):
            lines = Tail(path, lines=1_000_000).read()
            found += [(path.stem, line) for line in lines if job_id in line]
        return [self._render(line, part) for part, line in in_order(found)]

    def _ended(self, run: RunFile) -> list[EndedJob]:
        """Return the jobs that ended since the last time, in the order of their ends."""
        jobs = []
        for name in run.named("worker"):
            tail = self._tails.setdefault(name, Tail(self._project.logs / f"{name}.log", lines=_FIRST_LINES))
            jobs += [_job(json.loads(line), name) for line in tail.read() if '"event":"job ended"' in line]
        return sorted(jobs, key=lambda job: job.time)


def _stats(queue: JobQueue) -> QueueStats | None:
    try:
        return queue.stats()
    except UnavailableError:
        return None


def _part(name: str, part: PartRecord, resident_bytes: int | None) -> PartSample:
    return PartSample(name, part.state, part.pid, resident_bytes, part.restarts, part.reason or part.detail)


def _job(entry: Mapping[str, Any], worker: str) -> EndedJob:
    usage = entry.get("usage") or {}
    return EndedJob(
        job_id=entry["job_id"],
        time=entry["time"],
        status=entry["status"],
        attempt=entry["attempt"],
        waited_ms=entry["waited_ms"],
        first_token_ms=entry.get("first_token_ms"),
        total_ms=entry["total_ms"],
        tokens=usage.get("output_tokens"),
        worker=worker,
    )
