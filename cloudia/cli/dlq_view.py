"""How `cloudia dlq` shows letters, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.cli.durations import short_age
from cloudia.cli.output import console, note, print_json, print_text, table, table_console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudia.operate.dead_letters import Redriven, Shelf
    from cloudia.operate.letters import Letter
    from cloudia.protocol import Job

__all__ = ["count", "note_unseen", "print_dry_run", "print_letter", "print_letters", "print_redriven"]


def count(number: int, what: str) -> str:
    """Return `1 letter` or `2 letters`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def note_unseen(shelf: Shelf) -> None:
    """Say how many letters could not be seen."""
    if shelf.unseen:
        note(f"{count(shelf.unseen, 'letter')} could not be seen: others hold them, or they stand behind such")


def print_letters(letters: Sequence[Letter], now: float) -> None:
    """Print the table of `list`."""
    from rich.text import Text  # noqa: PLC0415 - lazy

    if not letters:
        note("no dead letters")
        return
    headings = ("FAILED", "AGE", "ID", "CONVERSATION", "USER", "ATTEMPTS", "ERROR")
    listed = table(*headings, right=("AGE", "ATTEMPTS"), whole=("AGE",))
    for letter in letters:
        shown = letter.to_json(now=now)
        cells = (
            shown["failed_at"][5:16].replace("T", " "),
            short_age(shown["age_seconds"]),
            shown["id"],
            shown["conversation_id"],
            shown["user_id"] or "",
            "" if shown["attempts"] is None else str(shown["attempts"]),
        )
        listed.add_row(*map(Text, cells), Text(shown["error_type"], "red"))
    table_console().print(listed)


def print_letter(document: Mapping[str, Any]) -> None:
    """Print what `show` gives under --json, for people."""
    from rich.text import Text  # noqa: PLC0415 - lazy

    out = console()
    for name in (
        "id", "message_id", "conversation_id", "user_id", "buried_by", "error_type", "error_message", "attempts",
        "accepted_at", "failed_at", "job_status", "trace_id",
    ):  # fmt: skip
        if document[name] not in {None, ""}:
            out.print(Text.assemble((f"{name:<16}", "dim"), str(document[name])))
    for attempt in document["attempt_history"]:
        how = attempt["code"] or attempt["outcome"]
        told = f"{attempt['ended_at']}  {how}  {attempt['reason'] or ''}" if how else "began and never ended"
        out.print(Text.assemble((f"attempt {attempt['attempt'] or '?':<8}", "dim"), told))
        for switch in attempt["switches"] or ():
            out.print(Text.assemble((f"{'passed over':<16}", "dim"), switch))
    out.print()
    print_text(document["content"] if document["content"] is not None else document["body"])
    if document["conversation"]:
        out.print(Text("\nthe conversation around it", "dim"))
    for message in document["conversation"]:
        own = message["job_id"] == document["job_id"]
        told = f"  {message['status']}: {message['error']['message']}" if message.get("error") else ""
        out.print(
            Text.assemble((f"{'▸' if own else ' '} {message['role']:<10}", "bold"), message["content"], (told, "red"))
        )


def print_dry_run(chosen: Sequence[Letter], shelf: Shelf, now: float, *, json: bool) -> None:
    """Print which letters would be redriven."""
    if json:
        entries = [letter.to_json(now=now) for letter in chosen if letter.redrivable]
        print_json({"dry_run": True, "dead_letters": entries, "count": len(entries), "unseen": shelf.unseen})
        return
    print_letters([letter for letter in chosen if letter.redrivable], now)
    note(f"{count(sum(letter.redrivable for letter in chosen), 'dead letter')} would be redriven")
    note_unseen(shelf)


def print_redriven(
    outcomes: Sequence[Redriven], ended: Mapping[str, Job], shelf: Shelf, *, target: str, json: bool
) -> None:
    """Print what became of each letter; `target` says where."""
    from rich.text import Text  # noqa: PLC0415 - lazy

    counts: dict[str, int] = {}
    entries = []
    for one in outcomes:
        counts[one.outcome] = counts.get(one.outcome, 0) + 1
        job = ended.get(one.letter.id)
        entries.append({**one.to_json(), "ended": job.to_json() if job else None})
    if json:
        print_json({"target": target, "letters": entries, "counts": counts, "unseen": shelf.unseen})
        return
    for entry in entries:
        job = entry["ended"]
        told = f"  {job['status']}" if job else ""
        good = (job or {}).get("status") == "done" or (job is None and entry["outcome"] == "redriven")
        out = Text.assemble(entry["id"], f"  {entry['outcome'].replace('_', ' ')}", (told, "green" if good else "red"))
        console().print(out)
    if not entries:
        note("no dead letters")
    note_unseen(shelf)
