"""The record of a job: what is read from it, what an attempt adds to it, and what a lease of it comes to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack

from cloudia.cloud.aws import call
from cloudia.cloud.items import from_item, to_item
from cloudia.protocol import AttemptOutcome, AttemptRecord, Job, QueuedJob, check_version

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

    from cloudia.stack import Stack

__all__ = [
    "Deleted",
    "Effort",
    "Ended",
    "Held",
    "Lease",
    "LeaseOutcome",
    "LostLeaseError",
    "Reopened",
    "Resent",
    "Unknown",
    "job_of",
    "job_record",
    "queued_job",
    "with_end",
]

_JOB_FIELDS = frozenset(Job.__dataclass_fields__)
_QUEUED_FIELDS = frozenset(QueuedJob.__dataclass_fields__)
_ATTEMPTS_KEPT = 20
_REASON_CHARACTERS = 300


class Effort(TypedDict, total=False):
    """What an attempt used, as far as it is known."""

    provider: str | None
    model: str | None
    usage: dict[str, float] | None
    finish: str | None
    first_text_at: float | None
    """Epoch seconds."""
    llm_calls: int
    switches: list[str] | None


class LostLeaseError(Exception):
    """Another worker holds the job now; nothing was written."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job until `expires_at` (epoch seconds), as long as no higher fence was given out."""

    job: Job
    owner: str
    fence: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The job has ended before; `fence` is that of the attempt that ended it."""

    job: Job
    fence: int


@dataclass(frozen=True, slots=True)
class Held:
    """Another worker holds the lease until `expires_at` (epoch seconds)."""

    expires_at: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no such job."""


@dataclass(frozen=True, slots=True)
class Reopened:
    """The job is queued again, with a new count of attempts; its message has to be sent."""


@dataclass(frozen=True, slots=True)
class Resent:
    """The job was reopened for this very letter before, and a worker has received its message since."""

    job: Job


@dataclass(frozen=True, slots=True)
class Deleted:
    """The job's message was deleted, with its conversation: there is nothing to answer any more."""


LeaseOutcome: TypeAlias = Lease | Ended | Held | Unknown


def job_record(dynamodb: DynamoDBClient, stack: Stack, job_id: str) -> dict[str, Any] | None:
    """Return all that is stored of a job, None where there is none."""
    answer = call(dynamodb.get_item, TableName=stack.jobs.name, Key=to_item({"job_id": job_id}), ConsistentRead=True)
    return from_item(answer["Item"]) if "Item" in answer else None


def queued_job(record: dict[str, Any], content: str) -> QueuedJob:
    """Return the queue message of a job from its record, and the text of its user message, which is not in there.

    `LaterVersionError` where a later version wrote it for its own kind.
    """
    check_version(record.get("v", 1), what="the job's record")
    names = _QUEUED_FIELDS - {"content", "model"}
    fields = {name: record[name] for name in names if name in record}
    return QueuedJob(content=content, model=record.get("asked_model"), **fields)


def job_of(record: dict[str, Any]) -> Job:
    """Return a job from its record."""
    shown = {name: value for name, value in record.items() if name in _JOB_FIELDS}
    shown["error"] = record.get("error") or None
    shown["attempt_history"] = _attempts(record)
    return Job(**shown)


def _attempts(record: dict[str, Any]) -> tuple[AttemptRecord, ...]:
    """Return the attempts of a record. A lease cannot write its own numbers: they are counted back from the record's."""
    attempt, fence = record.get("attempts", 0), record.get("fence", 0)
    found: list[AttemptRecord] = []
    for stored in reversed(record.get("attempt_history", [])):
        numbers = {"attempt": attempt if attempt > 0 else None, "fence": fence}
        entry = AttemptRecord.from_json({**numbers, **stored})
        found.append(entry)
        attempt, fence = (entry.attempt or 0) - 1, entry.fence - 1
    return tuple(reversed(found))


def with_end(
    lease: Lease,
    now: float,
    outcome: AttemptOutcome,
    error: dict[str, Any] | None,
    *,
    delay: int | None = None,
    **effort: Unpack[Effort],
) -> list[dict[str, Any]]:
    """Return the attempts to store, once that of a lease has ended."""
    *before, own = lease.job.attempt_history
    code, reason = (error or {}).get("code"), (error or {}).get("hint")
    ended = replace(
        own,
        ended_at=round(now, 3),
        outcome=outcome,
        code=code,
        reason=str(reason)[:_REASON_CHARACTERS] if reason else None,
        delay=delay,
        **effort,
    )
    return [entry.to_json() for entry in [*before, ended][-_ATTEMPTS_KEPT:]]
