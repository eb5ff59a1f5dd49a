"""`cloudia restart`: start a part of the running stack again."""

from __future__ import annotations

from typing import Annotated

import typer

from cloudia.cli.completion import complete_part
from cloudia.cli.output import STATE, print_json


def restart(
    part: Annotated[
        str, typer.Argument(help="A part, such as worker; several workers are all meant.", autocompletion=complete_part)
    ],
    *,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds until it must be ready again.")] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Stop a part as down would, start it again, and return when it is ready.

    A worker finishes its jobs, or hands them back. An engine is provisioned anew; without --persist its data is gone.
    """
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy
    from cloudia.local.restart import restart as restart_part  # noqa: PLC0415 - lazy

    STATE.json = json
    restarted = restart_part(find_project(), part, seconds=timeout)
    if json:
        print_json({"restarted": restarted})
        return
    for each in restarted:
        print(f"{each['part']} is ready again, as process {each['pid']}")  # noqa: T201 - the data
