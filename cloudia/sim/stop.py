"""Stopping a stack from outside, also one whose supervisor has died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudia.sim.processes import Process

if TYPE_CHECKING:
    from cloudia.sim.project import Project

__all__ = ["clean_up", "stop_stack", "supervisor_of"]

_STOP_SECONDS = 60.0


def supervisor_of(project: Project) -> Process | None:
    """Return the supervisor that runs in a project, None where none does."""
    run = project.read_run()
    if run is None:
        return None
    supervisor = Process(**run["supervisor"])
    return supervisor if supervisor.alive else None


def stop_stack(project: Project) -> bool:
    """Stop what runs in a project. Return whether anything did."""
    supervisor = supervisor_of(project)
    if supervisor is None:
        return clean_up(project)
    supervisor.terminate()
    if not supervisor.wait(_STOP_SECONDS):
        supervisor.kill_tree()
    clean_up(project)
    return True


def clean_up(project: Project) -> bool:
    """End what a supervisor that died has left behind, and forget it. Return whether there was anything."""
    run = project.read_run()
    if run is None:
        return False
    left = [
        Process(part["pid"], part["started_at"])
        for part in run.get("parts", {}).values()
        if part.get("pid") is not None
    ]
    alive = [process for process in left if process.alive]
    for process in alive:
        process.kill_tree()
    project.remove_run()
    return bool(alive)
