"""`cloudia config`: every setting, its value, and where that came from."""

from __future__ import annotations

from typing import Annotated

import typer

from cloudia.cli.output import STATE, console, print_json


def config(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show every setting of this folder, its value, and the source of it. Secrets are masked."""
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    STATE.json = json
    rows = find_project().settings().rows()
    if json:
        print_json({"settings": rows})
        return
    from rich.table import Table  # noqa: PLC0415 - lazy
    from rich.text import Text  # noqa: PLC0415 - lazy

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("SETTING", "VALUE", "FROM", "IS"):
        table.add_column(heading)
    for row in rows:
        given = row["source"] != "default"
        table.add_row(
            row["name"],
            Text("" if row["value"] is None else str(row["value"]), "bold" if given else ""),
            Text(row["source"], "" if given else "dim"),
            Text(row["doc"], "dim"),
        )
    console().print(table)
