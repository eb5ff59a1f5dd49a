"""Stopping a stack from outside, also one whose supervisor has died."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudia.local.processes import Process
    from cloudia.local.project import Project

__all__ = ["TEMPORARY_PREFIX", "clean_up", "stop_stack", "supervisor_of"]

TEMPORARY_PREFIX = "cloudia-"
"""How a stack's temporary folder is called; nothing else is ever removed."""
_STOP_SECONDS = 60.0


def supervisor_of(project: Project) -> Process | None:
    """Return the supervisor that runs in a project, None where none does."""
    run = project.read_run()
    return run.supervisor if run and run.supervisor.alive else None


def stop_stack(project: Project) -> bool:
    """Stop what runs in a project. Return whether anything did."""
    supervisor = supervisor_of(project)
    if supervisor is None:
        return clean_up(project)
    supervisor.send(signal.SIGTERM)
    if not supervisor.wait(_STOP_SECONDS):
        supervisor.kill_tree()
    clean_up(project)
    return True


def clean_up(project: Project) -> bool:
    """End what a supervisor that died has left behind, and forget it. Return whether there was anything."""
    run = project.read_run()
    if run is None:
        return False
    alive = [part.process for part in run.parts.values() if part.process and part.process.alive]
    for process in alive:
        process.kill_tree()
    if run.temporary.name.startswith(TEMPORARY_PREFIX):
        shutil.rmtree(run.temporary, ignore_errors=True)
    if run.container:
        from cloudia.sim.engines.docker import remove_container  # noqa: PLC0415 - only where there is one

        remove_container(run.container)
    project.remove_run()
    return bool(alive)
