"""`cloudia status`: what runs here, and how it is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudia.cli.output import STATE, console, print_json
from cloudia.errors import TimedOutError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.text import Text

    from cloudia.local.health import Look
    from cloudia.local.project import Project

_LOOK_SECONDS = 0.2
_BREAKER_STYLES = {"closed": "green", "half-open": "yellow", "open": "red"}


class Goal(StrEnum):
    """What can be waited for."""

    READY = "ready"


def status(
    *,
    wait_for: Annotated[
        Goal | None, typer.Option(help="Wait until every part is ready and healthy. Exits 5 where it is not in time.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait, with --wait-for.")] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the parts of the stack that runs in this folder."""
    from cloudia.local.health import look  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    STATE.json = json
    project = find_project()
    seen = look(project) if wait_for is None else _wait(project, seconds=timeout)
    if json:
        print_json(seen.to_json())
    else:
        _show(seen)


def _wait(project: Project, *, seconds: float) -> Look:
    """Look until all is ready, and return that. `NoStackError` where nothing runs, `TimedOutError` after `seconds`."""
    import time  # noqa: PLC0415 - lazy

    from cloudia.local.health import look  # noqa: PLC0415 - lazy

    deadline = time.monotonic() + seconds
    while True:
        seen = look(project)
        missing = _not_ready(seen)
        if not missing:
            return seen
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimedOutError(
                f"the stack is not ready within {seconds:g} s: {missing}", hint="See `cloudia logs`, or wait longer."
            )
        time.sleep(min(_LOOK_SECONDS, left))


def _not_ready(seen: Look) -> str:
    """Return in a few words why a stack is not ready; empty where it is."""
    run, health = seen.run, seen.health
    for name, part in run.parts.items():
        if part.state != "ready":
            return f"{name} is {part.state}" + (f", {part.reason}" if part.reason else "")
    if run.state != "ready":
        return f"it is {run.state}" + (f", {run.doing}" if run.doing else "")
    if health is None:
        return "the HTTP API does not answer"
    return "" if health["status"] == "ok" else f"its health is {health['status']}"


def _show(seen: Look) -> None:
    from rich.table import Table  # noqa: PLC0415 - lazy
    from rich.text import Text  # noqa: PLC0415 - lazy

    from cloudia.client.breakers import worst_breakers  # noqa: PLC0415 - lazy
    from cloudia.local.run_file import PlannedRun  # noqa: PLC0415 - lazy

    run, out = seen.run, console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("PART", "STATE", "PID", "MEMORY", "RESTARTS", "DETAIL"):
        table.add_column(heading, justify="right" if heading in {"PID", "MEMORY", "RESTARTS"} else "left")
    rows: list[tuple[str, str, int | None, int | None, int, str]] = [
        ("supervisor", run.state, run.supervisor.pid, seen.supervisor_bytes, 0, str(run.project)),
        *(
            (name, part.state, part.pid, seen.resident_bytes[name], part.restarts, part.reason or part.detail)
            for name, part in run.parts.items()
        ),
    ]
    for name, state, pid, memory, restarts, detail in rows:
        table.add_row(
            name,
            Text(state, {"ready": "green", "failed": "red"}.get(state, "yellow")),
            str(pid or ""),
            f"{memory / 2**20:.0f} MB" if memory else "",
            str(restarts),
            Text(detail),
        )
    out.print(table)
    urls, health = run.urls if isinstance(run, PlannedRun) else None, seen.health
    if urls:
        out.print(f"\nengine {seen.engine_detail or 'does not answer'} at {urls.aws_endpoint_url}")
    if not urls or health is None:
        out.print("The HTTP API does not answer.")
        return
    out.print(f"health {health['status']} · {len(health['workers'])} workers · {len(health['gateways'])} gateways")
    for route in worst_breakers(health):
        out.print(_breaker(route))
    out.print(f"web page {seen.page_url}")


def _breaker(route: Mapping[str, Any]) -> Text:
    """Return the line of a breaker."""
    from rich.text import Text  # noqa: PLC0415 - lazy

    state = route["breaker"]
    line = Text.assemble(f"breaker {route['provider']} {route['model']} ", (state, _BREAKER_STYLES[state]))
    if state != "closed" or route["opened"]:
        times = "once" if route["opened"] == 1 else f"{route['opened']} times"
        line.append(f" · {route['errors']} errors · opened {times}")
    if route["retry_after"]:
        line.append(f" · tries again in {route['retry_after']:g} s")
    return line
