"""`cloudia chaos`: break parts of the local stack on purpose, and mend them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudia.cli.durations import parse_seconds
from cloudia.cli.output import STATE, console, note, print_json
from cloudia.errors import UsageError

if TYPE_CHECKING:
    from cloudia.local.chaos import Chaos

app = typer.Typer(
    help="Break parts of the local stack on purpose, to see what holds.", no_args_is_help=True, rich_markup_mode=None
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
For = Annotated[str, typer.Option("--for", help="For how long, such as 5s or 2m.")]
Action = Annotated[str, typer.Argument(metavar="kill|pause", help="kill it, or stop it for a while.")]


@app.command()
def llm(
    fault: Annotated[str, typer.Argument(help="400, 429, 500, 529, timeout, hang, cut, slow or garbage.")],
    *,
    rate: Annotated[float | None, typer.Option(min=0, max=1, help="Share of the requests that it strikes.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Requests that it strikes, then it ends.")] = None,
    for_: Annotated[str | None, typer.Option("--for", help="For how long, such as 30s or 2m.")] = None,
    retry_after: Annotated[float | None, typer.Option(min=0, help="Seconds of Retry-After, with a status.")] = None,
    json: Json = False,
) -> None:
    """Make the simulated provider fail."""
    STATE.json = json
    seconds = parse_seconds(for_) if for_ else None
    added = _chaos().add_fault(fault, rate=rate, count=count, retry_after=retry_after, **{"for": seconds})
    if json:
        print_json(added)
    else:
        note(f"the provider fails: {_describe(added)}")


@app.command()
def redis(action: Action, *, for_: For = "5s", json: Json = False) -> None:
    """Kill Redis, which starts again empty; or stop it for a while."""
    _break("redis", action, for_, json=json)


@app.command()
def engine(action: Action, *, for_: For = "5s", json: Json = False) -> None:
    """Stop the engine for a while; or kill it, which loses what it holds."""
    _break("engine", action, for_, json=json)


@app.command()
def gateway(action: Action, *, for_: For = "5s", json: Json = False) -> None:
    """Kill the gateway, so that each client has to resume; or stop it for a while."""
    _break("gateway", action, for_, json=json)


@app.command()
def worker(
    action: Action,
    *,
    signal_name: Annotated[str, typer.Option("--signal", help="With kill: KILL, TERM, …")] = "KILL",
    every: Annotated[bool, typer.Option("--all", help="Every worker, not one.")] = False,
    for_: For = "5s",
    json: Json = False,
) -> None:
    """Kill a worker in the middle of what it does; or stop the workers for a while."""
    _break("worker", action, for_, signal_name=signal_name, every=every, json=json)


@app.command("list")
def list_(*, json: Json = False) -> None:
    """List the faults that are active."""
    STATE.json = json
    faults = _chaos().faults()
    if json:
        print_json({"faults": faults})
        return
    for fault in faults:
        console().print(_describe(fault), markup=False)
    if not faults:
        note("no fault is active")


@app.command()
def off(*, json: Json = False) -> None:
    """End all faults, and let every part go on that is stopped."""
    STATE.json = json
    chaos = _chaos()
    resumed = chaos.resume_all()
    ended = chaos.clear_faults()
    if json:
        print_json({"ended": ended, "resumed": resumed})
    else:
        note(
            f"{ended} {'fault' if ended == 1 else 'faults'} ended"
            + (f", {', '.join(resumed)} resumed" if resumed else "")
        )


def _chaos() -> Chaos:
    from cloudia.local.chaos import Chaos  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    return Chaos(find_project().require_run())


def _break(part: str, action: str, for_: str, *, signal_name: str = "KILL", every: bool = False, json: bool) -> None:
    STATE.json = json
    chaos = _chaos()
    if action == "kill":
        killed = chaos.kill(part, _signal(signal_name), every=every)
        done: dict[str, Any] = {"killed": killed}
        text = f"SIG{signal_name} to {', '.join(f'{name} ({pid})' for name, pid in killed.items())}"
    elif action == "pause":
        seconds = parse_seconds(for_)
        note(f"{part} stands still for {seconds:g} s; Ctrl-C ends it early")
        chaos.pause(part, seconds)
        done, text = {"paused": part, "seconds": seconds}, f"{part} goes on"
    else:
        raise UsageError(f"{action!r} is neither kill nor pause", hint=f"Such as `cloudia chaos {part} kill`.")
    if json:
        print_json(done)
    else:
        note(text)


def _signal(name: str) -> signal.Signals:
    try:
        return signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError as error:
        raise UsageError(f"{name!r} is no signal", hint="Such as KILL or TERM.") from error


def _describe(fault: dict[str, Any]) -> str:
    """Return a fault as one line: its kind, then what bounds it."""
    bounds = {
        "rate": fault.get("rate"),
        "left": fault.get("remaining_count"),
        "seconds": fault.get("remaining_seconds"),
    }
    shown = [f"{name} {value:g}" for name, value in bounds.items() if value is not None]
    kind = fault.get("status", "") if fault["kind"] == "status" else fault["kind"]
    return "  ".join([str(kind), *shown, f"struck {fault.get('struck', 0)}"])
