"""`cloudia drill`: a storm, and a verdict."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from cloudia.cli.exits import FAILED
from cloudia.cli.output import STATE, console, note, print_json
from cloudia.errors import UsageError

if TYPE_CHECKING:
    from cloudia.cli.bar import Bar
    from cloudia.drill.storm import Alone
    from cloudia.drill.verdict import Verdict
    from cloudia.local.run_file import RunFile

_ROWS = (
    ("jobs accepted", "accepted", False),
    ("answered", "answered", False),
    ("failed, and said so", "failed_friendly", False),
    ("dead letters", "dead_lettered", False),
    ("lost", "lost", True),
    ("answered twice", "answered_twice", True),
    ("out of order", "out_of_order", True),
    ("events missed", "events_missed", True),
    ("events doubled", "events_doubled", True),
    ("LLM calls paid twice", "paid_twice", False),
    ("jobs taken over", "taken_over", False),
)


def drill(
    *,
    jobs: Annotated[int, typer.Option(min=1, max=100_000, help="Messages that are sent.")] = 200,
    conversations: Annotated[int, typer.Option(min=1, max=1000, help="Conversations they belong to.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed is the same storm.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")] = 2,
    failures: Annotated[float, typer.Option(min=0, max=1, help="Share of the provider's calls that fail.")] = 0.3,
    worker_kills: Annotated[
        float, typer.Option(min=0, help="Mean seconds between kills of a worker; 0 is never.")
    ] = 4.0,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Nothing but these, comma-separated: order, orphans, skew, stopped, refused, clock; nothing is killed.",
        ),
    ] = None,
    responder: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION", help="Answer by this one of the working folder's project, not the LLM alone."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run a storm against a stack of its own, then check from outside that nothing was lost, doubled or out of order.

    Messages come one by one and in bursts into one conversation; some functions die before they send what they accepted, some
    are of a later version. Exits 1 where an invariant broke. With --responder the project's settings and code are used, and
    the simulated LLM; LLM calls are not counted, for a responder may make as many as it likes.
    """
    from cloudia.cli.bar import Bar  # noqa: PLC0415 - lazy
    from cloudia.drill.run import run_drill  # noqa: PLC0415 - lazy
    from cloudia.drill.storm import StormSize  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    STATE.json = json
    size = StormSize(
        jobs=jobs, conversations=min(conversations, jobs), seed=seed, failures=failures, worker_kills=worker_kills
    )
    if only is not None:
        size = size.only(_names(only))
    began = time.monotonic()
    with Bar("starting a stack", jobs) as bar:
        view = _View(bar)
        root = find_project().root if responder else None
        verdict = run_drill(size, workers=workers, responder=responder or "", root=root, view=view, progress=view)
    seconds = time.monotonic() - began
    if json:
        print_json({**verdict.to_json(), "seed": seed, "seconds": round(seconds, 1)})
    else:
        _show(verdict, seconds)
    if verdict.broken:
        raise typer.Exit(FAILED)


def _names(only: str) -> list[Alone]:
    """Read what is drilled alone. `UsageError` where a name is none."""
    from cloudia.drill.storm import ALONE  # noqa: PLC0415 - lazy

    given = [name.strip() for name in only.split(",")]
    found = [name for name in ALONE if name in given]
    if len(found) < len(set(given)):
        raise UsageError(f"--only is not of {', '.join(ALONE)}", hint="Such as --only order,orphans.")
    return found


class _View:
    """What a drill tells, on a bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def progress(self, run: RunFile) -> None:
        """Show that the stack starts."""
        ready = sum(part.state == "ready" for part in run.parts.values())
        self._bar.show(f"starting a stack ({ready} parts ready)")

    def count(self, *, accepted: int, ended: int) -> None:
        """Show how far the storm is."""
        self._bar.show(f"{accepted} accepted, ended", done=ended)


def _show(verdict: Verdict, seconds: float) -> None:
    from rich.table import Table  # noqa: PLC0415 - lazy
    from rich.text import Text  # noqa: PLC0415 - lazy

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, name, breaks in _ROWS:
        count = getattr(verdict, name)
        style = "" if not breaks else "bold red" if count else "green"
        table.add_row(Text(label, style), Text("not counted" if count is None else str(count), style))
    console().print(table)
    for detail in verdict.details:
        note(detail)
    kept = Text(f"every invariant held, in {seconds:.0f} s", "bold green")
    broken = Text(f"broken: {', '.join(verdict.broken)}", "bold red")
    console().print(broken if verdict.broken else kept)
