"""Stopping a stack from outside, also one whose supervisor has died."""

from __future__ import annotations

import shutil
import signal
import time
from typing import TYPE_CHECKING

from cloudia.errors import ForbiddenError, UsageError

if TYPE_CHECKING:
    from cloudia.local.processes import Process
    from cloudia.local.project import Project

__all__ = ["TEMPORARY_PREFIX", "clean_up", "stop_stack", "supervisor_in_reach"]

TEMPORARY_PREFIX = "cloudia-"
"""How a stack's temporary folder is called; nothing else is ever removed."""
_STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.03


def supervisor_in_reach(project: Project) -> Process | None:
    """Return the supervisor that runs in a project, None where none does.

    `ForbiddenError` where it runs in a container, or in another one, and has no process id here.
    """
    supervisor = project.holder()
    if supervisor and not supervisor.alive and project.is_locked:
        raise ForbiddenError(
            "the stack of this folder runs where its processes cannot be reached from here",
            hint="Say it where the stack was started: in its container, or outside of this one.",
            code="out_of_reach",
        )
    return supervisor


def stop_stack(project: Project) -> bool:
    """Stop what runs in a project. Return whether anything did. `ForbiddenError` where it cannot be reached."""
    deadline = time.monotonic() + _STOP_SECONDS
    while project.holder() and not project.running() and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)  # It has just begun, or another `down` cleans up.
    supervisor = supervisor_in_reach(project)
    if supervisor is None:
        return _clean_up_alone(project)
    supervisor.send(signal.SIGTERM)
    if not supervisor.wait(_STOP_SECONDS):
        supervisor.kill_tree()
    _clean_up_alone(project)
    return True


def _clean_up_alone(project: Project) -> bool:
    """Clean up, unless somebody begins at this moment, who does it then."""
    if project.read_run() is None:
        return False
    try:
        with project.locked():
            return clean_up(project)
    except UsageError as error:
        if error.code != "running":
            raise
        return False


def clean_up(project: Project) -> bool:
    """End what a supervisor that died has left behind, and forget it. Return whether there was anything.

    Whoever calls holds the project's lock. What came along in a copy of a folder is another one's, and only forgotten.
    """
    run = project.read_run()
    if run is None:
        return False
    if run.project.resolve() != project.root.resolve():
        project.remove_run()
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
