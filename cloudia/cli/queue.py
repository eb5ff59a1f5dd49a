"""`cloudia queue`: how full the queues are, what waits in them, and how to empty the jobs queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it
from cloudia.cli.confirm import confirm
from cloudia.cli.output import STATE, console, note, print_json, table, table_console
from cloudia.errors import CloudiaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from cloudia.cli.services import Services
    from cloudia.cloud.queue import JobQueue, QueueMessage

app = typer.Typer(
    help="The queue of jobs and the dead letters: how full, what waits.", no_args_is_help=True, rich_markup_mode=None
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_WATCH_SECONDS = 1.0


@app.command()
def stats(
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    target: TargetName = None,
    json: Json = False,
) -> None:
    """Count the messages of both queues: visible, in flight, delayed; and say how old the oldest is."""
    STATE.json = json
    if watch and json:
        raise UsageError("--json is one document, and --watch has no end", hint="Call it again and again instead.")
    services = _services(target)
    if json:
        print_json({"queues": _stats(services)})
        return
    if not watch:
        console().print(_table(_stats(services)))
        return
    from rich.live import Live  # noqa: PLC0415 - lazy

    out = console()
    if not out.is_terminal:
        while True:
            out.print(_table(_stats(services)))
            time.sleep(_WATCH_SECONDS)
    with Live(_table(_stats(services)), console=out, auto_refresh=False) as live:
        while True:
            time.sleep(_WATCH_SECONDS)
            live.update(_table(_stats(services)), refresh=True)


@app.command()
def peek(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Most messages.")] = 20,
    receive: Annotated[
        bool,
        typer.Option(
            "--receive", help="Where the service cannot show its messages: receive them, and hand them back at once."
        ),
    ] = False,
    target: TargetName = None,
    json: Json = False,
) -> None:
    """Show what waits in the jobs queue, oldest first, without taking any of it.

    SQS itself cannot do that. There, --receive hides the messages from the workers for a moment and counts as a delivery.
    """
    from cloudia.operate import peek as work  # noqa: PLC0415 - lazy

    STATE.json = json
    services = _services(target)
    seen, unseen = work.peek(services.cloud.queue), 0
    if seen is None:
        if not receive:
            raise CloudiaError(
                "this queue service cannot show its messages without handing them out",
                hint="--receive takes them for a moment and hands them back; `cloudia queue stats` counts them.",
                code="no_peek",
            )
        found = work.look(services.cloud.queue, patience=0)
        seen, unseen = list(found.messages), found.unseen
    seen.sort(key=lambda message: message.sent_at)
    shown = [_entry(message, time.time()) for message in seen[:limit]]
    if json:
        print_json({"messages": shown, "count": len(seen), "unseen": unseen})
    else:
        _print_messages(shown, len(seen), unseen)


@app.command()
def purge(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    target: TargetName = None,
    json: Json = False,
) -> None:
    """Throw away the jobs that wait. Each is recorded as failed first, so that whoever asked is told.

    What workers hold is answered, and so is what stands behind it in its conversation.
    """
    from cloudia.cli.bar import Bar  # noqa: PLC0415 - lazy

    STATE.json = json
    services = _services(target)
    waiting = services.cloud.queue.stats().visible
    confirm(f"Record what waits ({waiting}) as failed, and delete its messages?", yes=yes, does="ends jobs")
    with Bar("deleting", waiting) as bar:
        purged = services.letters.purge_queue(done=bar.advance)
    if json:
        print_json({"target": str(services.target), **purged.to_json()})
    else:
        left = f"; left with the workers: {purged.left}" if purged.left else ""
        note(f"messages deleted: {purged.deleted}; jobs recorded as failed: {len(purged.failed)}{left}")


def _services(target: str | None) -> Services:
    from cloudia.cli.services import open_services  # noqa: PLC0415 - lazy

    return open_services(target)


def _stats(services: Services) -> list[dict[str, Any]]:
    return [_one(services.cloud.queue, "jobs"), _one(services.cloud.dead_letters, "dead_letters")]


def _one(queue: JobQueue, role: str) -> dict[str, Any]:
    """Return a queue's counts. The age of the oldest is None where the service does not tell it, as SQS itself."""
    from cloudia.operate.peek import peek as look_inside  # noqa: PLC0415 - lazy

    counts = queue.stats()
    seen = look_inside(queue)
    oldest = max(0.0, time.time() - min(message.sent_at for message in seen)) if seen else None
    return {
        "role": role,
        "name": queue.name,
        "visible": counts.visible,
        "in_flight": counts.in_flight,
        "delayed": counts.delayed,
        "oldest_age_seconds": None if oldest is None else round(oldest, 1),
    }


def _table(queues: Sequence[Mapping[str, Any]]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - lazy
    from rich.text import Text  # noqa: PLC0415 - lazy

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("QUEUE", "VISIBLE", "IN FLIGHT", "DELAYED", "OLDEST"):
        table.add_column(heading, justify="left" if heading == "QUEUE" else "right", no_wrap=True)
    for entry in queues:
        age = entry["oldest_age_seconds"]
        counts = (str(entry[name]) for name in ("visible", "in_flight", "delayed"))
        table.add_row(Text(entry["name"]), *counts, "" if age is None else f"{age:.0f} s")
    return table


def _entry(message: QueueMessage, now: float) -> dict[str, Any]:
    """Return what is shown of a message: no text of it."""
    from cloudia.operate.letters import read_letter  # noqa: PLC0415 - lazy

    job = read_letter(message).job
    return {
        "message_id": message.message_id,
        "job_id": job.job_id if job else None,
        "conversation_id": job.conversation_id if job else message.group,
        "user_id": job.user_id if job else None,
        "age_seconds": round(max(0.0, now - message.sent_at), 1),
        "receive_count": message.receive_count,
        "visible": message.visible,
    }


def _print_messages(shown: Sequence[Mapping[str, Any]], count: int, unseen: int) -> None:
    from rich.text import Text  # noqa: PLC0415 - lazy

    listed = table("JOB", "CONVERSATION", "USER", "AGE", "RECEIVED", "STATE", right=("AGE", "RECEIVED"))
    for entry in shown:
        listed.add_row(
            Text(entry["job_id"] or f"{entry['message_id']} (no job)"),
            Text(entry["conversation_id"]),
            Text(entry["user_id"] or ""),
            f"{entry['age_seconds']:.0f} s",
            str(entry["receive_count"]),
            "waits" if entry["visible"] else "in flight",
        )
    if shown:
        table_console().print(listed)
    else:
        note("nothing waits")
    if count > len(shown):
        note(f"{count - len(shown)} more; show them with --limit")
    if unseen:
        note(f"{unseen} messages could not be seen: workers hold them, or they stand behind such")
