"""Dead letters: what is in the DLQ, and the way back.

A redrive is reopen the job → send it to the jobs queue → delete the letter, in this order, so that it may be killed between
any two: then the letter is there still, and the next redrive does it again. At worst the job is delivered twice, which its
record makes harmless.
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cloudia import ids, telemetry
from cloudia.cloud.job_records import Deleted, Ended, Held, Reopened, Resent, Unknown
from cloudia.cloud.queue import BATCH, REFUSED, Sending
from cloudia.errors import CloudiaError, InvalidRequestError
from cloudia.operate.peek import PATIENCE_SECONDS, Hands, look
from cloudia.protocol import QueuedJob, decode_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cloudia.cloud.jobs import Jobs
    from cloudia.cloud.queue import JobQueue, QueueMessage
    from cloudia.protocol import Job, JobStatus

__all__ = [
    "PURGED",
    "DeadLetters",
    "Edit",
    "Letter",
    "Outcome",
    "Purged",
    "Redriven",
    "Shelf",
    "decode_export",
    "read_letter",
]

NOT_A_JOB = "not_a_job"
UNKNOWN_JOB = "unknown_job"
RECEIVED_TOO_OFTEN = "received_too_often"
PURGED = {
    "code": "purged",
    "message": "This message was taken out of the queue by an operator, and is not answered.",
    "hint": "Send it again.",
    "retryable": True,
    "retry_after": None,
}
"""The failure that is recorded on a job whose only message is thrown away: nothing is lost silently."""

_EXPORT_VERSION = 1
_DAY = 86_400
_MOST_ATTRIBUTES = 10
_ATTRIBUTE = re.compile(r"[A-Za-z0-9_-]{1,256}")

BuriedBy: TypeAlias = Literal["worker", "sqs"]
Outcome: TypeAlias = Literal[
    "redriven",
    "already_redriven",
    "already_ended",
    "gone",
    "in_work",
    "not_reached",
    "refused",
    "no_conversation",
    "not_a_job",
]
"""What became of a letter. The first four have left the DLQ. The others are there still: a worker has the job, others hold
the letter, SQS refused the message, its conversation was deleted, or there is no job to redrive."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and what is known of its job."""

    message: QueueMessage
    job: QueuedJob | None
    """None where the body is no job of ours."""
    record: Job | None = None
    """None where there is no such job, or it was not asked for."""
    looked_up: bool = False

    @property
    def id(self) -> str:
        """The job's id; the message's where it is no job."""
        return self.job.job_id if self.job else self.message.message_id

    @property
    def buried_by(self) -> BuriedBy:
        """Who put it here: a worker, which says why; or SQS, which gave up on a message that was never deleted."""
        return "worker" if "error_type" in self.message.attributes else "sqs"

    @property
    def redrivable(self) -> bool:
        """Whether there is a job to redrive."""
        return self.job is not None and not (self.looked_up and self.record is None)

    @property
    def error_type(self) -> str:
        """Why it died, as a word."""
        told = self.message.attributes.get("error_type")
        if told:
            return told
        if self.job is None:
            return NOT_A_JOB
        return RECEIVED_TOO_OFTEN if self.redrivable else UNKNOWN_JOB

    @property
    def error_message(self) -> str:
        """Why it died, as a sentence."""
        told = self.message.attributes.get("error_message")
        if told or self.buried_by == "worker":
            return told or ""
        if self.job is None:
            return "This is not a job of ours."
        if not self.redrivable:
            return "There is no record of this job."
        last = (self.record.error or {}).get("message", "") if self.record else ""
        return f"It was received too often and never deleted: its workers died, or were cut off from it. {last}".strip()

    @property
    def attempts(self) -> int | None:
        """How many attempts were made; None where nobody counted."""
        told = self.message.attributes.get("attempts", "")
        if told.isascii() and told.isdigit():
            return int(told[:9])
        return self.record.attempts if self.record else None

    @property
    def died_at(self) -> float:
        """When it came here, in epoch seconds."""
        with suppress(ValueError, OverflowError):
            died_at = datetime.fromisoformat(self.message.attributes.get("failed_at", "")).timestamp()
            if 0 <= died_at < time.time() + _DAY:
                return died_at
        return self.message.sent_at

    @property
    def trace_id(self) -> str | None:
        """The trace of the request that was accepted."""
        told = self.message.attributes.get("traceparent") or (self.job.traceparent if self.job else None)
        return telemetry.trace_id(told)

    @property
    def conversation_id(self) -> str:
        """The conversation; of what is no job, the message group."""
        return self.job.conversation_id if self.job else self.message.group

    def to_json(self, *, now: float) -> dict[str, Any]:
        """Return what a list shows: no text of the message."""
        return {
            "id": self.id,
            "job_id": self.job.job_id if self.job else None,
            "message_id": self.message.message_id,
            "conversation_id": self.conversation_id,
            "user_id": self.job.user_id if self.job else None,
            "buried_by": self.buried_by,
            "error_type": self.error_type,
            "error_message": self.error_message,
            "attempts": self.attempts,
            "accepted_at": _accepted_at(self.job),
            "failed_at": ids.iso(self.died_at),
            "age_seconds": round(max(0.0, now - self.died_at), 1),
            "job_status": self.record.status if self.record else None,
            "redrivable": self.redrivable,
            "trace_id": self.trace_id,
            "visible": self.message.visible,
        }

    def export(self) -> dict[str, Any]:
        """Return all that is needed to put it back: body, group and attributes as they are."""
        message = self.message
        return {
            "v": _EXPORT_VERSION,
            "id": self.id,
            "group": message.group,
            "body": message.body,
            "attributes": message.attributes,
        }


def _accepted_at(job: QueuedJob | None) -> str | None:
    if job is None:
        return None
    with suppress(ValueError, OverflowError, OSError):
        return ids.iso(job.accepted_at)
    return None


def read_letter(message: QueueMessage) -> Letter:
    """Read a message of the DLQ, whatever it is."""
    try:
        job = QueuedJob.decode(message.body)
        job.encode().encode()  # JSON can spell half of a surrogate pair, which can be neither sent nor printed.
    except (CloudiaError, UnicodeEncodeError):
        return Letter(message, None)
    return Letter(message, job)


def decode_export(line: str) -> Sending:
    """Read one line of an export. `InvalidRequestError` says what is wrong with it."""
    value = decode_object(line, what="the line")
    if value.get("v") != _EXPORT_VERSION:
        raise InvalidRequestError("this is no line of an export of version 1", code="bad_version")
    body, group, attributes = value.get("body"), value.get("group"), value.get("attributes")
    if not isinstance(body, str) or not body or REFUSED.search(body):
        raise InvalidRequestError("body is not a text that SQS takes", code="wrong_type")
    if not isinstance(group, str) or not (0 < len(group) <= 128 and group.isascii() and group.isprintable()):  # noqa: PLR2004
        raise InvalidRequestError("group is not the id of a message group", code="wrong_type")
    if not isinstance(attributes, dict) or not all(isinstance(text, str) for text in attributes.values()):
        raise InvalidRequestError("attributes is not an object of texts", code="wrong_type")
    if len(attributes) > _MOST_ATTRIBUTES or not all(map(_ATTRIBUTE.fullmatch, attributes)):
        raise InvalidRequestError("attributes has names that SQS does not take, or more than 10", code="wrong_type")
    return Sending(body, group, secrets.token_hex(16), attributes)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The letters that were seen, newest first, and how many were not."""

    letters: tuple[Letter, ...]
    unseen: int


@dataclass(frozen=True, slots=True)
class Edit:
    """What is changed in a job before it is redriven; None leaves it as it is."""

    content: str | None = None
    model: str | None = None

    def apply(self, job: QueuedJob) -> QueuedJob:
        """Return the job with the changes."""
        content = job.content if self.content is None else self.content
        return replace(job, content=content, model=job.model if self.model is None else self.model)


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of a letter."""

    letter: Letter
    outcome: Outcome
    status: JobStatus | None = None
    """How the job had ended before, where it had."""

    def to_json(self) -> dict[str, Any]:
        """Return the outcome."""
        return {
            "id": self.letter.id,
            "job_id": self.letter.job.job_id if self.letter.job else None,
            "message_id": self.letter.message.message_id,
            "conversation_id": self.letter.conversation_id,
            "outcome": self.outcome,
            "status": self.status,
        }


@dataclass(slots=True)
class Purged:
    """What a purge did: messages deleted, jobs that were recorded as failed for it, and messages left as they are."""

    deleted: int = 0
    failed: list[str] = field(default_factory=list)
    left: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the counts."""
        return {"deleted": self.deleted, "failed_job_ids": self.failed, "left": self.left}


class DeadLetters:
    """The dead letters of a stack. All methods block; all raise `UnavailableError` where AWS is away."""

    def __init__(self, letters: JobQueue, queue: JobQueue, jobs: Jobs) -> None:
        self._letters = letters
        self._queue = queue
        self._jobs = jobs

    @cached_property
    def _owner(self) -> str:
        return ids.part_id("cli")

    # --- looking ---------------------------------------------------------------------------------------------------

    def look(self) -> Shelf:
        """Return all letters, newest first, each with its job's record. Consumes nothing; see `peek` for what may hide."""
        seen = look(self._letters)
        letters = self._look_up([read_letter(message) for message in seen.messages])
        letters.sort(key=lambda letter: (letter.died_at, letter.message.message_id), reverse=True)
        return Shelf(tuple(letters), seen.unseen)

    def _look_up(self, letters: Sequence[Letter]) -> list[Letter]:
        records = self._jobs.records(letter.job.job_id for letter in letters if letter.job)
        return [
            replace(letter, record=records.get(letter.job.job_id), looked_up=True) if letter.job else letter
            for letter in letters
        ]

    # --- redriving -------------------------------------------------------------------------------------------------

    def redrive(
        self,
        chosen: Sequence[Letter],
        *,
        edits: Mapping[str, Edit] | None = None,
        rate: float | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> Iterator[Redriven]:
        """Redrive letters that were seen, and yield what became of each.

        `edits` are by the ids of messages; `rate` is letters a second. Letters that others hold are waited for, `patience`
        seconds; one that does not come is `gone` where nobody holds any, else `in_work`.
        """
        wanted = {letter.message.message_id: letter for letter in chosen}
        for letter in [letter for letter in wanted.values() if not letter.redrivable]:
            del wanted[letter.message.message_id]
            yield Redriven(letter, "not_a_job")
        pace = _Pace(rate)
        with Hands(self._letters) as hands:
            batches = hands.all(patience=patience, most=pace.batch)
            while wanted and (taken := next(batches, None)) is not None:
                mine = [message for message in taken if wanted.pop(message.message_id, None)]
                if mine:
                    pace.wait(len(mine), meanwhile=hands.renew)
                    yield from self._redrive(mine, edits or {}, hands)
            for letter in wanted.values():
                yield Redriven(letter, "not_reached" if hands.unseen else "gone")

    def _redrive(self, messages: Sequence[QueueMessage], edits: Mapping[str, Edit], hands: Hands) -> list[Redriven]:
        """Redrive letters that are held: those of one request."""
        outcomes: list[Redriven] = []
        sending: list[tuple[Redriven, QueueMessage, Sending]] = []
        ended: list[QueueMessage] = []
        for message in messages:
            letter = read_letter(message)
            assert letter.job  # noqa: S101 - it is redrivable
            edit = edits.get(message.message_id, Edit())
            job = edit.apply(letter.job)
            match self._jobs.reopen(job, letter=message.message_id, edited=job.content != letter.job.content):
                case Reopened():
                    fresh = f"{job.job_id}-{secrets.token_hex(8)}"
                    sent = Sending(job.encode(), job.conversation_id, fresh)
                    sending.append((Redriven(letter, "redriven"), message, sent))
                case Resent(record):
                    outcomes.append(Redriven(letter, "already_redriven", record.status))
                    ended.append(message)
                case Ended(record, _):
                    outcomes.append(Redriven(letter, "already_ended", record.status))
                    ended.append(message)
                case Held():
                    outcomes.append(Redriven(letter, "in_work"))
                case Deleted():
                    outcomes.append(Redriven(letter, "no_conversation"))
                case Unknown():
                    outcomes.append(Redriven(letter, "not_a_job"))
        refused = set(self._queue.send_batch([sent for _, _, sent in sending]))
        for index, (outcome, message, _) in enumerate(sending):
            outcomes.append(replace(outcome, outcome="refused") if index in refused else outcome)
            if index not in refused:
                ended.append(message)
        hands.delete(ended)
        return outcomes

    def redrive_natively(self, letters: Sequence[Letter], *, rate: int | None = None) -> list[Redriven]:
        """Reopen the jobs of all letters, then let SQS move everything that is in the DLQ.

        `CloudiaError` where the service has no move task; nothing was done then.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
        """
        self._letters.check_moves()
        outcomes = []
        for letter in letters:
            if not letter.redrivable or not letter.job:
                outcomes.append(Redriven(letter, "not_a_job"))
                continue
            match self._jobs.reopen(letter.job, letter=letter.message.message_id):
                case Reopened():
                    outcomes.append(Redriven(letter, "redriven"))
                case Ended(record, _) | Resent(record):
                    outcomes.append(Redriven(letter, "already_ended", record.status))
                case Deleted() | Unknown():
                    outcomes.append(Redriven(letter, "no_conversation"))
                case Held():
                    outcomes.append(Redriven(letter, "in_work"))
        self._letters.move_all(self._queue, rate=rate)
        return outcomes

    # --- putting back and throwing away ------------------------------------------------------------------------------

    def put_back(self, letters: Sequence[Sending]) -> Iterator[int]:
        """Send letters to the DLQ, and yield how many more are there. `CloudiaError` where SQS refuses one."""
        for start in range(0, len(letters), BATCH):
            batch = letters[start : start + BATCH]
            refused = self._letters.send_batch(batch)
            yield len(batch) - len(refused)
            if refused:
                raise CloudiaError(
                    f"SQS refused letter {start + refused[0] + 1}, and what follows was not sent",
                    hint="Import the lines from there on again.",
                    code="letter_refused",
                )

    def purge(
        self,
        chosen: Sequence[Letter],
        *,
        patience: float = PATIENCE_SECONDS,
        done: Callable[[int], None] | None = None,
    ) -> Purged:
        """Delete letters that were seen. A job that has no other end yet is recorded as failed first."""
        wanted = {letter.message.message_id for letter in chosen}
        return _purge(self._letters, self._jobs, self._owner, patience=patience, wanted=wanted, done=done)

    def purge_queue(self, *, done: Callable[[int], None] | None = None) -> Purged:
        """Delete what waits in the jobs queue; each of its jobs is recorded as failed first.

        What workers hold stays, and what stands behind it in its conversation: those are answered.
        """
        started = time.time()
        return _purge(self._queue, self._jobs, self._owner, patience=0, until=started, done=done)


def _purge(
    queue: JobQueue,
    jobs: Jobs,
    owner: str,
    *,
    patience: float,
    wanted: set[str] | None = None,
    until: float | None = None,
    done: Callable[[int], None] | None = None,
) -> Purged:
    """Delete messages: those of `wanted` ids, or those sent before `until` (epoch seconds)."""
    purged = Purged()
    left = set(wanted) if wanted is not None else None
    with Hands(queue) as hands:
        batches = hands.all(patience=patience)
        while (left is None or left) and (taken := next(batches, None)) is not None:
            gone = []
            for message in taken:
                if left is not None:
                    if message.message_id not in left:
                        continue
                    left.discard(message.message_id)
                elif until is not None and message.sent_at > until:
                    continue
                hands.renew()
                job = read_letter(message).job
                if job and not _has_ended(jobs, job.job_id, owner, purged):
                    purged.left += 1
                    continue
                gone.append(message)
            hands.delete(gone)
            purged.deleted += len(gone)
            if done:
                done(len(gone))
        if left is None:
            purged.left = queue.stats().total
        elif hands.unseen:
            purged.left += len(left)
    return purged


def _has_ended(jobs: Jobs, job_id: str, owner: str, purged: Purged) -> bool:
    """End a job as failed where it has not ended. False where a worker has it now."""
    before = purged.failed
    match jobs.abandon(job_id, owner=owner, error=PURGED):
        case Held():
            return False
        case Unknown():
            return True
        case job:
            if job.error == PURGED and job_id not in before:
                before.append(job_id)
            return True


class _Pace:
    """At most `rate` letters a second, evenly."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._next = time.monotonic()
        self.batch = BATCH if rate is None else max(1, min(BATCH, int(rate / 4)))

    def wait(self, count: int, *, meanwhile: Callable[[], None]) -> None:
        """Wait until `count` letters may be redriven."""
        if self._rate is None:
            return
        while (pause := self._next - time.monotonic()) > 0:
            time.sleep(min(pause, 1.0))
            meanwhile()
        self._next = max(self._next, time.monotonic()) + count / self._rate
