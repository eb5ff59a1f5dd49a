"""Dead letters: what is in the DLQ, and the way back.

A redrive is reopen the job → send it to the jobs queue → delete the letter, in this order, so that it may be killed between
any two: then the letter is there still, and the next redrive does it again. At worst the job is delivered twice, which its
record makes harmless.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cloudia import ids
from cloudia.cloud.job_records import Deleted, Ended, Held, Reopened, Resent, Unknown
from cloudia.cloud.queue import BATCH, Sending
from cloudia.errors import CloudiaError
from cloudia.operate.letters import Letter, read_letter
from cloudia.operate.peek import PATIENCE_SECONDS, Hands, look
from cloudia.operate.purge import Purged, purge_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cloudia.cloud.jobs import Jobs
    from cloudia.cloud.queue import JobQueue, QueueMessage
    from cloudia.protocol import JobStatus, QueuedJob

__all__ = ["DeadLetters", "Edit", "Outcome", "Redriven", "Shelf"]

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
        return purge_messages(self._letters, self._jobs, self._owner, patience=patience, wanted=wanted, done=done)

    def purge_queue(self, *, done: Callable[[int], None] | None = None) -> Purged:
        """Delete what waits in the jobs queue; each of its jobs is recorded as failed first.

        What workers hold stays, and what stands behind it in its conversation: those are answered.
        """
        started = time.time()
        return purge_messages(self._queue, self._jobs, self._owner, patience=0, until=started, done=done)


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
