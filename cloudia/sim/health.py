"""How a running stack is: each part's process, and what the parts say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.errors import NoStackError
from cloudia.sim.probes import get_json
from cloudia.sim.processes import Process
from cloudia.sim.stop import supervisor_of

if TYPE_CHECKING:
    from cloudia.sim.project import Project

__all__ = ["look"]


def look(project: Project) -> dict[str, Any]:
    """Return `run.json` with `resident_bytes` for each part, and `health` as the HTTP API tells it (null where it does not).

    `NoStackError` where no supervisor runs.
    """
    supervisor = supervisor_of(project)
    run = project.read_run()
    if supervisor is None or run is None:
        raise NoStackError("no stack is running here", hint="Start one with `cloudia up --detach`.")
    for part in run.get("parts", {}).values():
        process = Process(part["pid"], part["started_at"]) if part["pid"] else None
        part["resident_bytes"] = process.resident_bytes() if process else None
    run["supervisor"]["resident_bytes"] = supervisor.resident_bytes()
    try:
        run["health"] = get_json(f"{run['api_url']}/health") if "api_url" in run else None
    except (OSError, ValueError):
        run["health"] = None
    return run
