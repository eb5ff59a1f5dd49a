"""`cloudia init`: a small project to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cloudia.cli.output import STATE, note, print_json


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write it; made where it is missing.")] = Path(),
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a small project that runs at once: settings, a responder, its tests, and a pipeline."""
    from shlex import quote  # noqa: PLC0415 - lazy

    from cloudia.local.scaffold import scaffold  # noqa: PLC0415 - lazy

    STATE.json = json
    written = scaffold(folder, force=force)
    if json:
        names = [path.relative_to(folder).as_posix() for path in written]
        print_json({"folder": str(folder.resolve()), "written": names})
        return
    for path in written:
        print(path)  # noqa: T201 - the data
    note(f"now: {'' if folder == Path() else f'cd {quote(str(folder))} && '}cloudia up")
