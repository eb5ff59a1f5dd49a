"""Samples of a local stack: its parts and their processes beside what is known of any stack; their logs add to its traces."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudia.local.health import look
from cloudia.local.tail import Tail, in_order
from cloudia.operate.samples import PartSample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudia.local.project import Project
    from cloudia.local.run_file import PartRecord
    from cloudia.operate.samples import EndedJob, Sample, Sampler

__all__ = ["LocalSampler"]


class LocalSampler:
    """Looks at the stack that runs in a project, which `stack` samples. `render` makes a log line readable."""

    def __init__(self, project: Project, stack: Sampler, render: Callable[[str, str], str]) -> None:
        self._project = project
        self._stack = stack
        self._render = render
        self._names: dict[str, str] = {}
        """Which part a worker is, by its id; also of those that ended."""

    def sample(self) -> Sample:
        """Look at the stack. `NoStackError` where it does not run any more."""
        seen = look(self._project)
        sample = self._stack.sample()
        parts = tuple(_part(name, part, seen.resident_bytes[name]) for name, part in seen.run.parts.items())
        self._names |= _names(parts, sample.health or {})
        return replace(sample, state=seen.run.state, parts=parts, jobs=tuple(map(self._named, sample.jobs)))

    def trace(self, job_id: str) -> list[str]:
        """Return a job's waterfall, then the log lines of all parts about it, in the order of their times."""
        found = []
        for path in sorted(self._project.logs.glob("*.log")):
            lines = Tail(path, lines=1_000_000).read()
            found += [(path.stem, line) for line in lines if job_id in line]
        logged = [self._render(line, part) for part, line in in_order(found)]
        return [*self._stack.trace(job_id), "", *logged] if logged else [*self._stack.trace(job_id)]

    def _named(self, job: EndedJob) -> EndedJob:
        return replace(job, worker=self._names.get(job.worker, job.worker))


def _names(parts: tuple[PartSample, ...], health: Mapping[str, Any]) -> dict[str, str]:
    """Return the part that each worker is, by its process."""
    by_pid = {part.pid: part.name for part in parts if part.pid is not None}
    return {worker["id"]: by_pid[worker["pid"]] for worker in health.get("workers", []) if worker["pid"] in by_pid}


def _part(name: str, part: PartRecord, resident_bytes: int | None) -> PartSample:
    return PartSample(name, part.state, part.pid, resident_bytes, part.restarts, part.reason or part.detail)
