"""Asking a supervisor, from another process, to start parts again.

A request is an empty file with the part's name in the stack's temporary folder, which goes when the stack goes; then a
signal has the supervisor look there.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

from cloudia.errors import NoStackError, PartError, TimedOutError, UsageError
from cloudia.local.stop import supervisor_in_reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cloudia.local.project import Project
    from cloudia.local.run_file import PartRecord, RunFile

__all__ = ["RESTART_SIGNAL", "restart", "take_requests"]

RESTART_SIGNAL = signal.SIGUSR1
_FOLDER = "restart"
_LOOK_SECONDS = 0.03


def take_requests(temporary: Path) -> set[str]:
    """Return the parts that were asked for, and forget the requests."""
    found = list((temporary / _FOLDER).glob("*"))
    for request in found:
        request.unlink(missing_ok=True)
    return {request.name for request in found}


def restart(project: Project, name: str, *, seconds: float) -> list[dict[str, Any]]:
    """Start a part again, or all of a kind (`worker` for `worker-1`, `worker-2`); return when they are ready.

    Returns `{"part", "previous_pid", "pid"}` of each. `NoStackError` where nothing runs, `UsageError` where there is no such
    part, `TimedOutError` where it is not ready within `seconds`.
    """
    run = project.require_run()
    supervisor_in_reach(project)
    before = run.named(name)
    if not before:
        raise UsageError(f"there is no part {name!r}", hint=f"There are {', '.join(run.parts)}.")
    _ask(run, before)
    deadline = time.monotonic() + seconds
    while True:
        parts = _parts_of(project)
        late = [each for each, part in before.items() if parts[each].state != "ready" or parts[each].pid == part.pid]
        if not late:
            return [{"part": each, "previous_pid": part.pid, "pid": parts[each].pid} for each, part in before.items()]
        if time.monotonic() > deadline:
            raise TimedOutError(_late(late[0], parts[late[0]], seconds), hint=f"See `cloudia logs {name}`.")
        time.sleep(_LOOK_SECONDS)


def _ask(run: RunFile, names: Iterable[str]) -> None:
    folder = run.temporary / _FOLDER
    try:
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).touch()
    except OSError as error:
        raise PartError(f"{folder} cannot be written: {error.strerror}", hint="`cloudia down`, then `up`.") from error
    run.supervisor.send(RESTART_SIGNAL)


def _parts_of(project: Project) -> Mapping[str, PartRecord]:
    run = project.live_run()
    if run is None or not run.is_up:
        raise NoStackError("the stack stopped meanwhile", hint="Start one with `cloudia up --detach`.")
    return run.parts


def _late(name: str, part: PartRecord, seconds: float) -> str:
    reason = f", {part.reason}" if part.reason else ""
    return f"{name} is not ready again within {seconds:g} s: it is {part.state}{reason}"
