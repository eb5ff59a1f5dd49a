"""`cloudia logs`: what the parts have logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from cloudia.cli.completion import complete_part
from cloudia.cli.output import STATE, console, json_line
from cloudia.errors import NoStackError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudia.local.project import Project


_LINES, _ALL = 50, 1_000_000


class Source(Protocol):
    """Gives the lines that were added since it was last asked."""

    def read(self) -> list[str]:
        """Return them."""
        ...


def logs(
    part: Annotated[
        str | None,
        typer.Argument(help="A part, such as worker; all of them if left out.", autocompletion=complete_part),
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines", "-n", min=0, help="Lines of each part to begin with: 50, or all with --job and --trace."
        ),
    ] = None,
    job: Annotated[str | None, typer.Option("--job", metavar="ID", help="Those of this job alone.")] = None,
    trace: Annotated[str | None, typer.Option("--trace", metavar="ID", help="Those of this trace alone.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print the logs of the stack of this folder, in the order of their times.

    With `up --functions zip` the functions log to the engine, which is asked for what api shows: the last hour, while it runs.
    """
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy
    from cloudia.local.tail import Tail  # noqa: PLC0415 - lazy
    from cloudia.sim.spec import kind_of  # noqa: PLC0415 - lazy

    STATE.json = json
    project = find_project()
    folder = project.root / ".cloudia" / "logs"
    paths = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not paths:
        raise NoStackError("there are no logs here", hint="Start a stack with `cloudia up --detach`.")
    if part is not None:
        chosen = {name: path for name, path in paths.items() if part in {name, kind_of(name)}}
        if not chosen:
            raise UsageError(f"there is no part {part!r}", hint=f"There are {', '.join(paths)}.")
        paths = chosen
    most = lines if lines is not None else _ALL if job or trace else _LINES
    tails: list[tuple[str, Source]] = [(name, Tail(path, lines=most)) for name, path in paths.items()]
    if "api" in paths:
        tails += [("api", source) for source in _functions(project, most)]
    wanted = {name: value for name, value in (("job_id", job), ("trace_id", trace)) if value}
    _print(tails, _as_json if json else _for_people(), wanted=wanted, follow=follow)


def _functions(project: Project, lines: int) -> list[Source]:
    """Return what reads the functions' logs, where those are with the engine."""
    run = project.live_run()
    settings = project.settings_of(run) if run else None
    if settings is None or settings.up_functions != "zip":
        return []
    from cloudia.cloud.cloud import Cloud  # noqa: PLC0415 - lazy
    from cloudia.operate.function_logs import FunctionLogs  # noqa: PLC0415 - lazy

    cloud = Cloud(settings)
    return [FunctionLogs(cloud.aws, cloud.stack, lines=lines)]


def _as_json(name: str, line: str) -> None:
    from cloudia.local.log_lines import to_json  # noqa: PLC0415 - lazy

    print(json_line(to_json(line, name)), flush=True)  # noqa: T201 - the data


def _for_people() -> Callable[[str, str], None]:
    from cloudia.cli.log_lines import render  # noqa: PLC0415 - lazy

    out = console()
    return lambda name, line: out.print(render(line, name))


def _print(
    tails: list[tuple[str, Source]], show: Callable[[str, str], None], *, wanted: Mapping[str, str], follow: bool
) -> None:
    import time  # noqa: PLC0415 - lazy

    from cloudia.local.log_lines import bears  # noqa: PLC0415 - lazy
    from cloudia.local.tail import in_order  # noqa: PLC0415 - lazy

    while True:
        new = [(name, line) for name, tail in tails for line in tail.read() if bears(line, wanted)]
        for name, line in in_order(new):
            show(name, line)
        if not follow:
            return
        time.sleep(0.2)
