"""`cloudia status`: what runs here, and how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudia.cli.output import STATE, console, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping


def status(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the parts of the stack that runs in this folder."""
    from cloudia.sim.health import look  # noqa: PLC0415 - lazy
    from cloudia.sim.project import find_project  # noqa: PLC0415 - lazy

    STATE.json = json
    run = look(find_project())
    if json:
        print_json(run)
    else:
        _show(run)


def _show(run: Mapping[str, Any]) -> None:
    from rich.table import Table  # noqa: PLC0415 - lazy
    from rich.text import Text  # noqa: PLC0415 - lazy

    out = console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("PART", "STATE", "PID", "MEMORY", "RESTARTS", "DETAIL"):
        table.add_column(heading, justify="right" if heading in {"PID", "MEMORY", "RESTARTS"} else "left")
    rows = [
        (
            "supervisor",
            {**run["supervisor"], "state": run["state"], "restarts": 0, "detail": run["project"], "reason": ""},
        )
    ]
    for name, part in [*rows, *run.get("parts", {}).items()]:
        style = {"ready": "green", "failed": "red"}.get(part["state"], "yellow")
        memory = part.get("resident_bytes")
        table.add_row(
            name,
            Text(part["state"], style),
            str(part["pid"] or ""),
            f"{memory / 2**20:.0f} MB" if memory else "",
            str(part["restarts"]),
            Text(part["reason"] or part["detail"]),
        )
    out.print(table)
    health = run["health"]
    if health is None:
        out.print("\nThe HTTP API does not answer.")
        return
    out.print(f"\nhealth {health['status']} · {len(health['workers'])} workers · {len(health['gateways'])} gateways")
    out.print(f"web page {run['web_url']}")
