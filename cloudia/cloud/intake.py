"""Intake: a message is accepted once, in one transaction over its idempotency key, job, user message and conversation."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any
from unicodedata import category

from cloudia import ids
from cloudia.cloud.allowances import Allowance, Limits
from cloudia.cloud.aws import call
from cloudia.cloud.budgets import Budgets, Hold, committing, over_budget
from cloudia.cloud.items import from_item, to_item, values
from cloudia.cloud.job_records import job_record, queued_job
from cloudia.cloud.jobs import Jobs
from cloudia.cloud.transactions import TRANSACTION_TRIES, pause, transact
from cloudia.errors import (
    CloudiaError,
    ConflictError,
    NotFoundError,
    PaymentRequiredError,
    TooManyRequestsError,
    UnavailableError,
)
from cloudia.protocol import QueuedJob
from cloudia.telemetry import trace_id

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

    from cloudia.cloud.reserve import Reserve
    from cloudia.stack import Stack

__all__ = ["Intake"]

_JOB_DAYS = 30
_KEY_HOURS = 24
_TITLE_CHARACTERS = 60
_NO_LIMITS = Limits()
_NO_BUDGETS = Budgets()


class Intake:
    """Where messages become jobs, in DynamoDB. Blocks; raises `UnavailableError` where DynamoDB is away."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        stack: Stack,
        limits: Limits = _NO_LIMITS,
        budgets: Budgets = _NO_BUDGETS,
        reserve: Reserve | None = None,
    ) -> None:
        self._db = dynamodb
        self._stack = stack
        self._jobs = Jobs(dynamodb, stack)
        self._limits = limits
        self._budgets = budgets
        self._reserve = reserve

    def accept(
        self,
        *,
        user_id: str,
        content: str,
        conversation_id: str | None,
        session_id: str | None,
        idempotency_key: str | None,
        traceparent: str,
    ) -> tuple[QueuedJob, bool]:
        """Record a user message and its job. Return it, and whether it still has to be sent to the queue.

        The same key again returns the first job; it has to be sent again only where no worker has begun it, because the
        first request may have died between its two writes. `NotFoundError` for a conversation that is not the user's,
        `ConflictError` where the key stands for another message, `TooManyRequestsError` where the user's limits are reached,
        `PaymentRequiredError` where a budget does not reach.
        """
        fingerprint = hashlib.sha256(f"{conversation_id or ''}\n{content}".encode()).hexdigest()
        key = hashlib.sha256(f"{user_id}\n{idempotency_key}".encode()).hexdigest() if idempotency_key else None
        for attempt in range(TRANSACTION_TRIES):
            previous, sizes = None, list[int]()
            if conversation_id:
                conversation = self._conversation(user_id, conversation_id)
                if conversation is None:
                    # A request that is sent again after its conversation was deleted still gets its first answer.
                    replay = self._replay(key, fingerprint, content) if key else None
                    if replay:
                        return replay
                    raise NotFoundError(
                        "there is no such conversation",
                        hint="Leave conversation_id out to start one.",
                        code="no_conversation",
                    )
                previous, sizes = conversation.get("last_message_id"), conversation.get("turn_sizes", [])
            job_id, message_id = ids.turn_ids(previous)
            job = QueuedJob(
                job_id=job_id,
                conversation_id=conversation_id or ids.conversation_id(),
                message_id=message_id,
                user_id=user_id,
                content=content,
                accepted_at=time.time(),
                session_id=session_id,
                previous_message_id=previous,
                traceparent=traceparent,
            )
            turns = self._reserve.turns(sizes, content) if self._reserve else []
            try:
                allowance = self._allowance(job)
                refused = self._record(
                    job, key, fingerprint, starts=conversation_id is None, allowance=allowance, turns=turns
                )
            except (TooManyRequestsError, PaymentRequiredError):
                replay = self._replay(key, fingerprint, content) if key else None
                if replay:  # It was counted when it was accepted.
                    return replay
                raise
            if not refused:
                return job, True
            if key and refused.get("key") == "ConditionalCheckFailed":
                replay = self._replay(key, fingerprint, content)
                if replay:
                    return replay
            # Another message of this conversation was accepted meanwhile: take the next place.
            pause(attempt)
        raise self._too_busy()

    def _too_busy(self) -> CloudiaError:
        if self._limits.any:  # What a user sends at the same moment meets at what is counted of it.
            return TooManyRequestsError("you send too much at once", hint="Send the message again in 1 s.")
        return UnavailableError("this conversation is too busy", hint="Try again.", code="conversation_busy")

    def _allowance(self, job: QueuedJob) -> Allowance | None:
        """Return what a user has used up once this job is accepted. `TooManyRequestsError` where it may not be."""
        if not self._limits.any:
            return None
        answer = call(
            self._db.get_item,
            TableName=self._stack.idempotency.name,
            Key=to_item({"key": Allowance.key(job.user_id)}),
            ConsistentRead=True,
        )
        allowance = Allowance.of(from_item(answer.get("Item", {})))
        if allowance.full(self._limits):
            records = self._jobs.records(allowance.open_jobs)
            allowance = allowance.without(
                {job_id for job_id in allowance.open_jobs if job_id not in records or records[job_id].ended}
            )
        return allowance.taken(job.job_id, now=job.accepted_at, limits=self._limits)

    def _conversation(self, user_id: str, conversation_id: str) -> dict[str, Any] | None:
        answer = call(
            self._db.get_item,
            TableName=self._stack.conversations.name,
            Key=to_item({"user_id": user_id, "conversation_id": conversation_id}),
            ConsistentRead=True,
        )
        return from_item(answer["Item"]) if "Item" in answer else None

    def _record(
        self,
        job: QueuedJob,
        key: str | None,
        fingerprint: str,
        *,
        starts: bool,
        allowance: Allowance | None,
        turns: list[int],
    ) -> dict[str, str]:
        """Write all of an accepted message, or nothing. Return why each write was refused that was, by name; {} is success.

        `PaymentRequiredError` where a budget does not reach for it.
        """
        created = ids.iso(job.accepted_at)
        conversation_key = {"user_id": job.user_id, "conversation_id": job.conversation_id}
        if starts:
            first = {
                **conversation_key,
                "title": _title(job.content),
                "created_at": created,
                "updated_at": created,
                "last_message_id": job.message_id,
                "turn_sizes": turns or None,
            }
            conversation: dict[str, Any] = {
                "Put": {
                    "TableName": self._stack.conversations.name,
                    "Item": to_item(first),
                    "ConditionExpression": "attribute_not_exists(conversation_id)",
                }
            }
        else:
            conversation = {
                "Update": {
                    "TableName": self._stack.conversations.name,
                    "Key": to_item(conversation_key),
                    "UpdateExpression": "SET last_message_id = :message, updated_at = :now"
                    + (", turn_sizes = :turns" if turns else ""),
                    "ConditionExpression": "last_message_id = :previous",
                    "ExpressionAttributeValues": values(
                        message=job.message_id,
                        now=created,
                        previous=job.previous_message_id,
                        **({"turns": turns} if turns else {}),
                    ),
                }
            }
        hold = self._hold(job, turns)
        record = {
            "job_id": job.job_id,
            "conversation_id": job.conversation_id,
            "message_id": job.message_id,
            "user_id": job.user_id,
            "session_id": job.session_id,
            "previous_message_id": job.previous_message_id,
            "traceparent": job.traceparent,
            "trace_id": trace_id(job.traceparent),
            "status": "queued",
            "state": "open",
            "state_since": created,
            "attempts": 0,
            "fence": 0,
            "accepted_at": job.accepted_at,
            "created_at": created,
            "hold": hold.to_json() if hold else None,
            "expires_at": int(job.accepted_at) + _JOB_DAYS * 86_400,
        }
        message = {
            "conversation_id": job.conversation_id,
            "message_id": job.message_id,
            "role": "user",
            "content": job.content,
            "created_at": created,
            "job_id": job.job_id,
        }
        writes: dict[str, dict[str, Any]] = {
            "conversation": conversation,
            "job": {"Put": {"TableName": self._stack.jobs.name, "Item": to_item(record)}},
            "message": {"Put": {"TableName": self._stack.messages.name, "Item": to_item(message)}},
        }
        if hold:
            table = self._stack.idempotency.name
            takes = committing(table, hold.keys, hold.held, now=job.accepted_at, budgets=self._budgets)
            writes |= zip(hold.keys, takes, strict=True)
        if allowance:
            writes["allowance"] = {
                "Put": {
                    "TableName": self._stack.idempotency.name,
                    "Item": to_item(allowance.item(job.user_id)),
                    "ConditionExpression": "attribute_not_exists(#key) OR version = :before",
                    "ExpressionAttributeNames": {"#key": "key"},
                    "ExpressionAttributeValues": values(before=allowance.version - 1),
                }
            }
        if key:
            entry = {
                "key": key,
                "job_id": job.job_id,
                "fingerprint": fingerprint,
                "expires_at": int(job.accepted_at) + _KEY_HOURS * 3600,
            }
            writes["key"] = {
                "Put": {
                    "TableName": self._stack.idempotency.name,
                    "Item": to_item(entry),
                    "ConditionExpression": "attribute_not_exists(#key) OR expires_at < :now",
                    "ExpressionAttributeNames": {"#key": "key"},
                    "ExpressionAttributeValues": values(now=int(job.accepted_at)),
                }
            }
        reasons = transact(self._db, list(writes.values()))
        refused = {name: reason for name, reason in zip(writes, reasons, strict=False) if reason != "None"}
        empty = next(
            (name for name in (hold.keys if hold else ()) if refused.get(name) == "ConditionalCheckFailed"), None
        )
        if empty:
            raise over_budget(empty, now=job.accepted_at)
        return refused

    def _hold(self, job: QueuedJob, turns: list[int]) -> Hold | None:
        """Return what a job holds at first; None where there are no budgets."""
        if self._reserve is None:
            return None
        return Hold(self._budgets.keys(job.user_id, now=job.accepted_at), self._reserve.most(turns))

    def _replay(self, key: str, fingerprint: str, content: str) -> tuple[QueuedJob, bool] | None:
        """Return the job that a key stands for and whether to send it again; None where the key is not in use."""
        answer = call(
            self._db.get_item, TableName=self._stack.idempotency.name, Key=to_item({"key": key}), ConsistentRead=True
        )
        entry = from_item(answer.get("Item", {}))
        if not entry or entry["expires_at"] < int(time.time()):  # in whole seconds, as `_record` compares it
            return None
        if entry["fingerprint"] != fingerprint:
            raise ConflictError(
                "this idempotency_key was used for another message", hint="Use a new key.", code="idempotency_conflict"
            )
        record = job_record(self._db, self._stack, entry["job_id"])
        if record is None:
            return None
        job = queued_job(record, content)  # The fingerprint says that the text is the same.
        return job, record["status"] == "queued" and record["fence"] == 0  # A reopened job has its message elsewhere.


def _title(content: str) -> str:
    """Return the first line of a message, shortened at a word; of control characters alone, an ellipsis."""
    first = content.strip().split("\n", 1)[0]
    line = " ".join("".join(" " if category(character) == "Cc" else character for character in first).split()) or "…"
    if len(line) <= _TITLE_CHARACTERS:
        return line
    return line[: _TITLE_CHARACTERS - 1].rsplit(" ", 1)[0] + "…"
