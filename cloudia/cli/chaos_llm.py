"""`cloudia chaos llm`: the simulated provider fails, or answers as a real server was seen to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudia.cli.durations import parse_seconds
from cloudia.cli.output import STATE, console, note, print_json
from cloudia.errors import UsageError

if TYPE_CHECKING:
    from cloudia.local.chaos import Chaos

__all__ = ["chaos_here", "describe", "llm", "play"]

_CASE = "case"


def llm(
    fault: Annotated[
        str, typer.Argument(help="400, 429, 500, 529, timeout, hang, cut, slow or garbage; or case, with a CASE.")
    ],
    case: Annotated[str, typer.Argument(help="The name of a case that comes with cloudia, or its file.")] = "",
    *,
    rate: Annotated[float | None, typer.Option(min=0, max=1, help="Share of the requests that it strikes.")] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Requests that it strikes, then it ends; of a case, how often it is played."),
    ] = None,
    for_: Annotated[str | None, typer.Option("--for", help="For how long, such as 30s or 2m.")] = None,
    retry_after: Annotated[float | None, typer.Option(min=0, help="Seconds of Retry-After, with a status.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="With case: list those that come with cloudia.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make the simulated provider fail, or have it play a case: to the byte what a real server was seen to send.

    A case strikes the next job, through all its attempts; a case of several turns as many jobs.
    """
    STATE.json = json
    if fault == _CASE:
        if (rate, for_, retry_after) != (None, None, None):
            raise UsageError("a case takes --count and nothing else", hint="Its bytes, pauses and status are its own.")
        if list_:
            _list()
        else:
            play(case, count or 1)
        return
    if case or list_:
        raise UsageError(
            f"{fault!r} takes no case", hint="Only `cloudia chaos llm case` has cases; --list has their names."
        )
    seconds = parse_seconds(for_) if for_ else None
    added = chaos_here().add_fault(fault, rate=rate, count=count, retry_after=retry_after, **{"for": seconds})
    if json:
        print_json(added)
    else:
        note(f"the provider fails: {describe(added)}")


def play(case: str, times: int) -> None:
    """Play a case, by its name or its file, to the jobs of this folder's stack, and print that."""
    from cloudia.sim.llm.corpus import find_case  # noqa: PLC0415 - lazy

    if not case:
        raise UsageError("no case is named", hint="`cloudia chaos llm case --list` has the names.")
    document = find_case(case)
    queued = chaos_here().play(document, times=times)
    if STATE.json:
        print_json({**queued, "what": document.get("what", ""), "settings": document.get("settings", {})})
        return
    note(f"the next {queued['queued']} jobs are answered by cases, the last of them by {queued['name']}")
    if document.get("what"):
        note(str(document["what"]))
    if document.get("settings"):
        shown = ", ".join(f"{name} = {value}" for name, value in document["settings"].items())
        note(f"it was written for a stack with {shown}")


def _list() -> None:
    from cloudia.sim.llm.corpus import corpus  # noqa: PLC0415 - lazy

    cases = [{name: case[name] for name in ("name", "api", "kind", "what", "reports")} for case in corpus()]
    if STATE.json:
        print_json({"cases": cases})
        return
    from rich.table import Table  # noqa: PLC0415 - lazy

    table = Table("case", "kind", "what", box=None, pad_edge=False, header_style="dim")
    for case in cases:
        table.add_row(case["name"], case["kind"], case["what"])
    console().print(table)


def chaos_here() -> Chaos:
    """Return what can be broken of this folder's stack."""
    from cloudia.local.chaos import Chaos  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    return Chaos(find_project().require_run())


def describe(fault: dict[str, Any]) -> str:
    """Return a fault as one line: its kind, then what bounds it."""
    bounds = {
        "rate": fault.get("rate"),
        "left": fault.get("remaining_count"),
        "seconds": fault.get("remaining_seconds"),
    }
    shown = [f"{name} {value:g}" for name, value in bounds.items() if value is not None]
    kind = fault.get("status", "") if fault["kind"] == "status" else fault["kind"]
    return "  ".join([str(kind), *shown, f"struck {fault.get('struck', 0)}"])
