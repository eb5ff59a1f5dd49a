"""Run files of stacks that never ran."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia.local.processes import Process
from cloudia.local.run_file import PartRecord, PlannedRun, RunFile, Urls

if TYPE_CHECKING:
    from cloudia.local.run_file import RunState

__all__ = ["begun", "part", "planned"]

_BEGUN: dict[str, Any] = {
    "project": Path("/somewhere"),
    "temporary": Path("/tmp/cloudia-x"),
    "container": "",
    "doing": "",
    "written_at": 1_700_000_000.5,
}


def part(**changes: Any) -> PartRecord:
    """Return what is noted of a worker that runs as this process."""
    whole = {"kind": "worker", "state": "ready", "process": Process.own(), "restarts": 0, "detail": "", "reason": ""}
    return PartRecord(**{**whole, **changes})


def begun(state: RunState = "starting", **changes: Any) -> RunFile:
    """Return what is noted before there is a plan; the supervisor is this process."""
    return RunFile(**{**_BEGUN, "state": state, "supervisor": Process.own(), **changes})


def planned(state: RunState = "ready", **changes: Any) -> PlannedRun:
    """Return what is noted once there is a plan; the supervisor is this process."""
    whole = {
        **_BEGUN,
        "state": state,
        "supervisor": Process.own(),
        "urls": Urls("http://api", "ws://gateway", "http://page/", "http://aws", "redis://redis", "http://llm"),
        "stack_name": "cloudia",
        "region": "us-east-1",
        "engine": "ministack",
        "llm": "sim",
        "persist": False,
        "environment": {"CLOUDIA_STACK_NAME": "cloudia"},
        "parts": {"worker": part()},
    }
    return PlannedRun(**{**whole, **changes})
