"""How a running stack is: each part's process, and what the parts say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.errors import NoStackError
from cloudia.local.processes import Process
from cloudia.local.stop import supervisor_of
from cloudia.sim.engines.answering import who_answers
from cloudia.sim.probes import get_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.local.project import Project

__all__ = ["look"]


def look(project: Project) -> dict[str, Any]:
    """Return `run.json` with `resident_bytes` for each part, what the engine says it is, and the HTTP API's health.

    `engine_detail` and `health` are null where they do not answer.

    `NoStackError` where no supervisor runs.
    """
    supervisor = supervisor_of(project)
    run = project.read_run()
    if supervisor is None or run is None:
        raise NoStackError("no stack is running here", hint="Start one with `cloudia up --detach`.")
    for part in run.get("parts", {}).values():
        process = Process(part["pid"], part["started_at"]) if part["pid"] else None
        part["resident_bytes"] = process.resident_bytes() if process else None
    run["engine_detail"] = _engine(run)
    run["supervisor"]["resident_bytes"] = supervisor.resident_bytes()
    try:
        run["health"] = get_json(f"{run['api_url']}/health") if "api_url" in run else None
    except (OSError, ValueError):
        run["health"] = None
    return run


def _engine(run: Mapping[str, Any]) -> str | None:
    """Return name, version and edition of an engine, None where none answers."""
    if "aws_endpoint_url" not in run:
        return None
    found = who_answers(run["aws_endpoint_url"])
    return None if found is None else str(found)
