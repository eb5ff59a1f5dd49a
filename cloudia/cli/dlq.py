"""`cloudia dlq`: look at the dead letters, redrive them, carry them elsewhere, throw them away."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it
from cloudia.cli.confirm import confirm
from cloudia.cli.dlq_view import count, note_unseen, print_dry_run, print_letter, print_letters, print_redriven
from cloudia.cli.durations import parse_seconds
from cloudia.cli.output import STATE, json_line, note, print_json
from cloudia.codes import told as code_told
from cloudia.errors import (
    CloudiaError,
    DeadLetteredError,
    JobFailedError,
    LLMUnavailableError,
    NotFoundError,
    TimedOutError,
    UnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudia.cli.services import Services
    from cloudia.operate.dead_letters import Edit, Redriven, Shelf
    from cloudia.operate.letters import Letter
    from cloudia.protocol import AttemptRecord, Job

app = typer.Typer(
    help="The dead letters: jobs that used up their attempts. Looking at them never consumes any.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Letters, by the id that `list` shows.")]
Error = Annotated[
    str | None, typer.Option("--error", metavar="TYPE", help="Those that died of this, as `list` shows it.")
]
OlderThan = Annotated[str | None, typer.Option("--older-than", metavar="TIME", help="Those older than 30s, 2h or 1d.")]
Conversation = Annotated[str | None, typer.Option("--conversation", metavar="ID", help="Those of this conversation.")]

_AROUND = 4
_POLL_SECONDS = 0.25
_STAYS = {"in_work": "in work", "not_reached": "not reached", "refused": "refused by SQS"}
"""What may be otherwise in a moment."""
_TIMES = ("began_at", "first_text_at", "ended_at")


@app.command("list")
def list_(
    *,
    error: Error = None,
    conversation: Conversation = None,
    older_than: OlderThan = None,
    target: TargetName = None,
    json: Json = False,
) -> None:
    """List the dead letters, newest first."""
    STATE.json = json
    wanted = _Filter(error, conversation, _seconds(older_than))
    shelf = _services(target).letters.look()
    now = time.time()
    letters = [letter for letter in shelf.letters if wanted.takes(letter, now)]
    if json:
        entries = [letter.to_json(now=now) for letter in letters]
        print_json({"dead_letters": entries, "count": len(entries), "unseen": shelf.unseen})
        return
    print_letters(letters, now)
    note_unseen(shelf)


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The letter.")],
    *,
    target: TargetName = None,
    json: Json = False,
) -> None:
    """Show a dead letter: its message, why it died, its attempts, and the conversation around it."""
    from cloudia.operate.letters import attributes_to_json  # noqa: PLC0415 - lazy

    STATE.json = json
    services = _services(target)
    letter = _by_ids(services.letters.look(), [letter_id])[0]
    document = {
        **letter.to_json(now=time.time()),
        "content": letter.job.content if letter.job else None,
        "body": None if letter.job else letter.message.body,
        "attributes": attributes_to_json(letter.message.attributes),
        "attempt_history": _attempt_history(letter),
        "conversation": _conversation(services, letter),
    }
    if json:
        print_json(document)
    else:
        print_letter(document)


@app.command()
def redrive(
    ids: Ids = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every letter.")] = False,
    error: Error = None,
    older_than: OlderThan = None,
    conversation: Conversation = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which, and do nothing.")] = False,
    rate: Annotated[float | None, typer.Option("--rate", min=0.01, max=1000, help="At most so many a second.")] = None,
    edit: Annotated[bool, typer.Option("--edit", help="Change the text or the model first, in $EDITOR.")] = False,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change content or model first.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until each job has ended, and say how.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait, with --wait.")] = 120.0,
    native: Annotated[
        bool, typer.Option("--native", help="With --all: let SQS move the letters itself, where it can.")
    ] = False,
    target: TargetName = None,
    json: Json = False,
) -> None:
    """Give dead jobs another life: each keeps its id, counts its attempts anew, and is answered in its place."""
    from cloudia.cli.bar import Bar  # noqa: PLC0415 - lazy

    STATE.json = json
    wanted = _Filter(error, conversation, _seconds(older_than))
    _check_choice(ids, every=every, wanted=wanted)
    if native and (not every or wanted.chooses or edit or sets or dry_run):
        raise UsageError("--native moves all letters as they are", hint="Use it with --all, --rate and --wait only.")
    services = _services(target)
    shelf = services.letters.look()
    now = time.time()
    chosen = _by_ids(shelf, ids) if ids else [letter for letter in shelf.letters if wanted.takes(letter, now)]
    _refuse_strangers(chosen, named=bool(ids))
    if dry_run:
        print_dry_run(chosen, shelf, now, json=json)
        return
    edits = _edits(services, chosen, edit=edit, sets=sets or [])
    if native:
        outcomes = services.letters.redrive_natively(chosen, rate=max(1, round(rate)) if rate else None)
    else:
        outcomes = []
        try:
            with Bar("redriving", len(chosen)) as bar:
                for outcome in services.letters.redrive(chosen, edits=edits, rate=rate):
                    outcomes.append(outcome)
                    bar.advance()
        except UnavailableError as away:
            raise UnavailableError(
                f"{away.message}; {len(outcomes)} of {count(len(chosen), 'letter')} were done, the others stay",
                hint=f"{away.hint} Nothing is lost: run it again.".strip(),
                code=away.code,
            ) from away
    waited = _wait(services, outcomes, seconds=timeout) if wait else {}
    print_redriven(outcomes, waited, shelf, target=str(services.target), json=json)
    _raise_worst(outcomes, waited, waits=wait, seconds=timeout, named=bool(ids))


@app.command("export")
def export_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to: JSON lines, - is stdout.")],
    *,
    error: Error = None,
    conversation: Conversation = None,
    older_than: OlderThan = None,
    target: TargetName = None,
    json: Json = False,
) -> None:
    """Write the dead letters to a file, whole. They stay where they are."""
    from pathlib import Path  # noqa: PLC0415 - lazy

    from cloudia.given_file import write_given  # noqa: PLC0415 - lazy

    STATE.json = json
    if json and file == "-":
        raise UsageError("stdout cannot be both the letters and --json", hint="Name a file, or leave --json out.")
    wanted = _Filter(error, conversation, _seconds(older_than))
    shelf, now = _services(target).letters.look(), time.time()
    letters = [letter for letter in shelf.letters if wanted.takes(letter, now)]
    lines = [json_line(letter.export()) + "\n" for letter in reversed(letters)]
    if file == "-":
        sys.stdout.writelines(lines)
    else:
        try:
            write_given(Path(file), "".join(lines))
        except OSError as failure:
            raise CloudiaError(f"{file} cannot be written: {failure.strerror}", code="cannot_write") from failure
    if json:
        print_json({"file": file, "count": len(letters), "unseen": shelf.unseen})
    else:
        note(f"{count(len(letters), 'dead letter')} exported")
        note_unseen(shelf)


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An export; - is stdin.")],
    *,
    target: TargetName = None,
    json: Json = False,
) -> None:
    """Put exported letters back into the DLQ. Nothing is sent where a line is none of an export."""
    from cloudia.cli.bar import Bar  # noqa: PLC0415 - lazy
    from cloudia.operate.letters import decode_export  # noqa: PLC0415 - lazy

    STATE.json = json
    letters, bad = [], []
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        try:
            letters.append(decode_export(line))
        except CloudiaError as error:
            bad.append(f"line {number}: {error.message}")
    if bad:
        more = f", and {count(len(bad) - 1, 'more line')} cannot be read" if len(bad) > 1 else ""
        raise CloudiaError(f"{bad[0]}{more}", hint="Nothing was imported.", code="bad_line")
    done, services = 0, _services(target)
    with Bar("importing", len(letters)) as bar:
        for sent in services.letters.put_back(letters):
            done += sent
            bar.advance(sent)
    if json:
        print_json({"target": str(services.target), "count": done})
    else:
        note(f"{count(done, 'dead letter')} imported")


@app.command()
def purge(
    ids: Ids = None,
    *,
    error: Error = None,
    conversation: Conversation = None,
    older_than: OlderThan = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    target: TargetName = None,
    json: Json = False,
) -> None:
    """Delete dead letters for good: those named, those that match, or all.

    Their jobs stay recorded as dead; one that had no end yet is recorded as failed.
    """
    from cloudia.cli.bar import Bar  # noqa: PLC0415 - lazy

    STATE.json = json
    wanted = _Filter(error, conversation, _seconds(older_than))
    if ids and wanted.chooses:
        raise UsageError("name letters or filter them, not both")
    services = _services(target)
    shelf, now = services.letters.look(), time.time()
    chosen = _by_ids(shelf, ids) if ids else [letter for letter in shelf.letters if wanted.takes(letter, now)]
    confirm(f"Delete {count(len(chosen), 'dead letter')} for good?", yes=yes)
    with Bar("deleting", len(chosen)) as bar:
        purged = services.letters.purge(chosen, done=bar.advance)
    if json:
        print_json({"target": str(services.target), **purged.to_json(), "unseen": shelf.unseen})
    else:
        note(f"{count(purged.deleted, 'dead letter')} deleted")
        note_unseen(shelf)
    if purged.left:
        raise CloudiaError(
            f"{count(purged.left, 'letter')} could not be had: others hold them, or work on their jobs",
            hint="Run it again in a moment.",
            code="letters_left",
        )


# --- choosing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which letters are wanted; None is any."""

    error: str | None
    conversation: str | None
    older_than: float | None

    @property
    def chooses(self) -> bool:
        return any(value is not None for value in (self.error, self.conversation, self.older_than))

    def takes(self, letter: Letter, now: float) -> bool:
        return (
            self.error in {None, letter.error_type}
            and self.conversation in {None, letter.conversation_id}
            and (self.older_than is None or now - letter.died_at > self.older_than)
        )


def _services(target: str | None) -> Services:
    from cloudia.cli.services import open_services  # noqa: PLC0415 - lazy

    return open_services(target)


def _seconds(text: str | None) -> float | None:
    return None if text is None else parse_seconds(text)


def _check_choice(ids: Sequence[str] | None, *, every: bool, wanted: _Filter) -> None:
    if ids and (every or wanted.chooses):
        raise UsageError("name letters or choose among them, not both", hint="Leave the ids or the options out.")
    if not (ids or every or wanted.chooses):
        raise UsageError("nothing says which letters", hint="Name their ids, or use --all, --error, --older-than, …")


def _by_ids(shelf: Shelf, ids: Sequence[str]) -> list[Letter]:
    """Return the letters of these ids, each once. `NotFoundError` names one that is not there."""
    chosen: dict[str, Letter] = {}
    for wanted in ids:
        found = [letter for letter in shelf.letters if wanted in {letter.id, letter.message.message_id}]
        if not found:
            unseen = f" {count(shelf.unseen, 'letter')} could not be seen." if shelf.unseen else ""
            raise NotFoundError(
                f"there is no dead letter {wanted[:64]!r}.{unseen}",
                hint="`cloudia dlq list` shows which there are.",
                code="no_letter",
            )
        chosen |= {letter.message.message_id: letter for letter in found}
    return list(chosen.values())


def _refuse_strangers(chosen: Iterable[Letter], *, named: bool) -> None:
    """Refuse to redrive what is no job, where it was asked for by name; it is passed over otherwise."""
    for letter in chosen if named else ():
        if not letter.redrivable:
            raise CloudiaError(
                f"{letter.id} is no job that can be redriven ({letter.error_type})",
                hint="Look at it with `cloudia dlq show`; `export` and `purge` take it.",
                code="not_a_job",
            )


def _edits(services: Services, chosen: Sequence[Letter], *, edit: bool, sets: Sequence[str]) -> Mapping[str, Edit]:
    """Return what is changed, by the ids of messages."""
    if not edit and not sets:
        return {}
    from cloudia.cli.dlq_edit import edit_job, parse_sets  # noqa: PLC0415 - lazy

    if edit and sets:
        raise UsageError("--edit and --set exclude each other")
    jobs = {letter.job.job_id: letter.job for letter in chosen if letter.job}
    if len(jobs) != 1:
        raise UsageError(f"one letter can be changed, and {len(jobs)} are chosen", hint="Name the id of one.")
    (job,) = jobs.values()
    most = services.cloud.settings.limits_content_bytes
    changed = edit_job(job, max_content_bytes=most) if edit else parse_sets(sets, max_content_bytes=most)
    return {letter.message.message_id: changed for letter in chosen}


def _lines(file: str) -> list[str]:
    from pathlib import Path  # noqa: PLC0415 - lazy

    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return raw.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise CloudiaError(f"{file} cannot be read: {error.strerror}", code="cannot_read") from error
    except UnicodeDecodeError as error:
        raise CloudiaError(f"{file} is not UTF-8", hint="Nothing was imported.", code="bad_line") from error


# --- around a letter ---------------------------------------------------------------------------------------------------


def _conversation(services: Services, letter: Letter) -> list[dict[str, Any]]:
    """Return the messages around a letter's own, oldest first."""
    from cloudia.cloud.items import encode_cursor  # noqa: PLC0415 - lazy

    job = letter.job
    if job is None or not letter.redrivable:
        return []
    before = services.cloud.history.before(job.conversation_id, job.message_id, limit=_AROUND)
    from_here = [services.cloud.history.message(job.conversation_id, job.message_id)]
    try:
        place = encode_cursor(job.message_id)
        page = services.cloud.history.messages(job.user_id, job.conversation_id, limit=_AROUND + 1, cursor=place)
        after = page.items
    except NotFoundError:
        after = ()
    return [message.to_json() for message in (*before, *from_here, *after) if message]


def _attempt_history(letter: Letter) -> list[dict[str, Any]]:
    """Return the attempts that the job's record has, oldest first. Of one that took its worker down no end is known."""
    return [_attempt(record) for record in (letter.record.attempt_history if letter.record else ())]


def _attempt(record: AttemptRecord) -> dict[str, Any]:
    from cloudia.ids import iso  # noqa: PLC0415 - lazy

    times = {name: iso(at) if (at := getattr(record, name)) else None for name in _TIMES}
    failed = {"failed_at": times["ended_at"] if record.code else None, "code": record.code, "reason": record.reason}
    return {"attempt": record.attempt, **failed, **asdict(record), **times}


# --- waiting -----------------------------------------------------------------------------------------------------------


def _wait(services: Services, outcomes: Sequence[Redriven], *, seconds: float) -> dict[str, Job]:
    """Wait until the redriven jobs have ended. Return their records; those that have not ended in time are not there."""
    from cloudia.cli.bar import Bar  # noqa: PLC0415 - lazy

    again = {"redriven", "already_redriven"}
    open_ = {one.letter.job.job_id for one in outcomes if one.outcome in again and one.letter.job}
    ended: dict[str, Job] = {}
    deadline = time.monotonic() + seconds
    with Bar("waiting", len(open_)) as bar:
        while open_:
            now = {job_id: job for job_id, job in services.cloud.jobs.records(open_).items() if job.ended}
            ended |= now
            open_ -= now.keys()
            bar.advance(len(now))
            if open_ and time.monotonic() > deadline:
                break
            if open_:
                time.sleep(_POLL_SECONDS)
    return ended


def _raise_worst(
    outcomes: Sequence[Redriven], ended: Mapping[str, Job], *, waits: bool, seconds: float, named: bool
) -> None:
    """Raise the error that the exit code stands for: the worst of what became of the letters."""
    dead = [job for job in ended.values() if job.status == "dead_lettered"]
    if dead:
        why = (dead[0].error or {}).get("message", "")
        raise DeadLetteredError(
            f"{count(len(dead), 'job')} died again. {why}".strip(), hint="`cloudia dlq show` says why."
        )
    failed = [job for job in ended.values() if job.status == "failed"]
    if failed:
        told = failed[0].error or {}
        kind = LLMUnavailableError if told.get("code") == LLMUnavailableError.code else JobFailedError
        raise kind(
            f"{count(len(failed), 'job')} failed. {told.get('message', '')}".strip(),
            hint=str(told.get("hint", "")),
            code=code_told(told.get("code"), kind.code),
        )
    again = [one for one in outcomes if one.outcome in {"redriven", "already_redriven"}]
    late = len({one.letter.id for one in again}) - len(ended)
    if waits and late > 0:
        raise TimedOutError(
            f"{count(late, 'job')} did not end within {seconds:g} s", hint="Wait longer with --timeout."
        )
    orphans = [one.letter.id for one in outcomes if one.outcome == "no_conversation"]
    if orphans and named:
        raise CloudiaError(
            f"the conversation of {orphans[0]} was deleted, so there is nothing to answer",
            hint="`cloudia dlq purge` takes the letter away.",
            code="no_conversation",
        )
    stays = [_STAYS[one.outcome] for one in outcomes if one.outcome in _STAYS]
    if stays:
        counts = ", ".join(f"{stays.count(why)} {why}" for why in dict.fromkeys(stays))
        raise CloudiaError(
            f"{count(len(stays), 'letter')} stay in the DLQ: {counts}",
            hint="Run it again in a moment.",
            code="letters_left",
        )
