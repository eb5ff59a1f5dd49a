"""`cloudia logs`: what the parts have logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cloudia.cli.completion import complete_part
from cloudia.cli.output import STATE, console
from cloudia.errors import NoStackError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def logs(
    part: Annotated[
        str | None,
        typer.Argument(help="A part, such as worker; all of them if left out.", autocompletion=complete_part),
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each part to begin with.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print the logs of the stack of this folder, in the order of their times."""
    from cloudia.sim.project import find_project  # noqa: PLC0415 - lazy

    STATE.json = json
    folder = find_project().root / ".cloudia" / "logs"
    paths = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not paths:
        raise NoStackError("there are no logs here", hint="Start a stack with `cloudia up --detach`.")
    if part is not None:
        chosen = {name: path for name, path in paths.items() if name == part or name.startswith(f"{part}-")}
        if not chosen:
            raise UsageError(f"there is no part {part!r}", hint=f"There are {', '.join(paths)}.")
        paths = chosen
    _print(paths, _as_json if json else _for_people(), lines=lines, follow=follow)


def _as_json(name: str, line: str) -> None:
    import json  # noqa: PLC0415 - lazy

    from cloudia.cli.log_lines import to_json  # noqa: PLC0415 - lazy

    print(json.dumps(to_json(line, name), ensure_ascii=False), flush=True)  # noqa: T201 - the data


def _for_people() -> Callable[[str, str], None]:
    from cloudia.cli.log_lines import render  # noqa: PLC0415 - lazy

    out = console()
    return lambda name, line: out.print(render(line, name))


def _print(paths: dict[str, Path], show: Callable[[str, str], None], *, lines: int, follow: bool) -> None:
    import time  # noqa: PLC0415 - lazy

    from cloudia.sim.tail import Tail, in_order  # noqa: PLC0415 - lazy

    tails = {name: Tail(path, lines=lines) for name, path in paths.items()}
    while True:
        new = [(name, line) for name, tail in tails.items() for line in tail.read()]
        for name, line in in_order(new):
            show(name, line)
        if not follow:
            return
        time.sleep(0.2)
