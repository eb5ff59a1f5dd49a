"""Starting a stack: here, with a terminal, or detached."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Protocol

from cloudia.errors import PartError
from cloudia.local.ending import heed_signals
from cloudia.local.run_file import PlannedRun
from cloudia.local.supervisor import Supervisor
from cloudia.sim.spec import python_module

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudia.local.project import Project
    from cloudia.local.run_file import RunFile
    from cloudia.local.supervisor import Watcher
    from cloudia.settings import Resolved

__all__ = ["Progress", "detached", "in_foreground", "running"]

_SUPERVISOR = "cloudia.local.supervisor"
_READY_SECONDS = 900.0
"""Longer than the engine's installation may take; a part that does not answer is given up far earlier."""
_LOOK_SECONDS = 0.03


class Progress(Protocol):
    """Whoever shows how a detached start goes on."""

    def progress(self, run: RunFile) -> None:
        """Show what `run.json` says now."""


def running(project: Project) -> PlannedRun | None:
    """Return what runs here, once it is ready, or None. A stack that is just starting is waited for."""
    while run := project.running():
        if isinstance(run, PlannedRun) and run.is_up:
            return run
        time.sleep(_LOOK_SECONDS)
    return None


def in_foreground(project: Project, resolved: Resolved, watcher: Watcher) -> None:
    """Run a stack until Ctrl-C, SIGTERM or, unless nohup has it ignored, the hang-up. A second one does not wait."""
    project.require_room()

    async def run() -> None:
        supervisor = Supervisor(project, resolved, watcher)
        heed_signals(supervisor.stop)
        await supervisor.run()

    asyncio.run(run())


def detached(
    project: Project,
    flags: Mapping[str, Any],
    view: Progress,
    *,
    supervisor: Sequence[str] = (_SUPERVISOR,),
    stdin: int = subprocess.DEVNULL,
) -> PlannedRun:
    """Start a stack that outlives this process. Return what it noted when every part has answered.

    `supervisor` is a module that is run in the project's folder, with its arguments; the flags come as JSON in
    `CLOUDIA_FLAGS`, and `stdin` is a `leash` where it is to end with this process after all.

    Raises the error that ended the start, as the supervisor noted it.
    """
    project.require_room()
    log = project.logs / "supervisor.log"
    log.write_bytes(b"")
    with log.open("ab") as out:  # Another `up` of the same moment writes there too.
        process = subprocess.Popen(
            python_module(*supervisor),
            cwd=project.root,
            env={**os.environ, "CLOUDIA_FLAGS": json.dumps(flags)},
            stdin=stdin,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        return _wait(project, process, view)
    except BaseException:
        process.terminate()
        raise


def _wait(project: Project, process: subprocess.Popen[bytes], view: Progress) -> PlannedRun:
    """Follow a supervisor until its stack is ready. Return what it noted; raise the error that it noted."""
    log = project.logs / "supervisor.log"
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        run = project.read_run()
        if run and run.supervisor.pid == process.pid:
            view.progress(run)
            if isinstance(run, PlannedRun) and run.state == "ready":
                return run
            if run.failure:
                process.wait(30)
                raise run.failure.error()
        if process.poll() is not None:
            other = running(project)  # An `up` that was a moment earlier has the project's lock.
            if other:
                return other
            raise PartError("the supervisor ended", hint=f"Its log is {log}.")
        time.sleep(_LOOK_SECONDS)
    raise PartError("the stack is not ready", hint=f"Its log is {log}.")
