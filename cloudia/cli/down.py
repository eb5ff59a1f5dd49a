"""`cloudia down`: stop the stack of this project."""

from __future__ import annotations

from typing import Annotated

import typer

from cloudia.cli.output import STATE, note, print_json


def down(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Stop the stack that runs in this folder, and leave nothing behind."""
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy
    from cloudia.local.stop import stop_stack  # noqa: PLC0415 - lazy

    STATE.json = json
    stopped = stop_stack(find_project())
    if json:
        print_json({"stopped": stopped})
    else:
        note("stopped" if stopped else "no stack is running here")
