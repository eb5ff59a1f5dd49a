"""`cloudia chaos`: break parts of the local stack on purpose, and mend them."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer

from cloudia.cli.chaos_llm import chaos_here, describe, llm
from cloudia.cli.durations import parse_seconds
from cloudia.cli.output import STATE, console, note, print_json
from cloudia.errors import UsageError

app = typer.Typer(
    help="Break parts of the local stack on purpose, to see what holds.", no_args_is_help=True, rich_markup_mode=None
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
For = Annotated[str, typer.Option("--for", help="For how long, such as 5s or 2m.")]
Action = Annotated[str, typer.Argument(metavar="kill|pause", help="kill it, or stop it for a while.")]


app.command()(llm)


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
    """List the faults that are active, and the cases that wait to be played."""
    STATE.json = json
    chaos = chaos_here()
    faults, cases = chaos.faults(), chaos.cases()
    if json:
        print_json({"faults": faults, "cases": cases})
        return
    for fault in faults:
        console().print(describe(fault), markup=False)
    for case in cases:
        console().print(f"case {case['name']}  turns {case['turns']}", markup=False)
    if not faults and not cases:
        note("no fault is active")


@app.command()
def off(*, json: Json = False) -> None:
    """End all faults and cases, and let every part go on that is stopped."""
    STATE.json = json
    chaos = chaos_here()
    resumed = chaos.resume_all()
    ended = chaos.clear_faults() + chaos.clear_cases()
    if json:
        print_json({"ended": ended, "resumed": resumed})
    else:
        note(
            f"{ended} {'fault' if ended == 1 else 'faults'} ended"
            + (f", {', '.join(resumed)} resumed" if resumed else "")
        )


def _break(part: str, action: str, for_: str, *, signal_name: str = "KILL", every: bool = False, json: bool) -> None:
    STATE.json = json
    chaos = chaos_here()
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
