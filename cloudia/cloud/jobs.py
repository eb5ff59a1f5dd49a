"""Jobs: leased to one worker at a time, ended once.

Every write that decides something is conditional, so that the outcome does not depend on who else is writing:
- a lease raises the fence, and whoever writes with an older fence is refused (Kleppmann, "How to do distributed locking");
- ending is one transaction of the job and its answer, guarded by the fence.

Each attempt is kept with the job: begun by the lease, ended by what gives the lease back. Both are writes that are made
anyway. Whoever holds the lease is the only one who writes there, so it writes the whole list.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Unpack, cast

from botocore.exceptions import ClientError

from cloudia import ids
from cloudia.cloud.aws import call, error_code
from cloudia.cloud.budgets import Hold, committing, over_budget
from cloudia.cloud.items import from_item, to_item, values
from cloudia.cloud.job_index import pages
from cloudia.cloud.job_records import (
    Deleted,
    Effort,
    Ended,
    Held,
    Lease,
    LeaseOutcome,
    LostLeaseError,
    Reopened,
    Resent,
    Unknown,
    job_of,
    job_record,
    queued_job,
    with_end,
)
from cloudia.cloud.transactions import TRANSACTION_TRIES, pause, transact
from cloudia.errors import NotFoundError, UnavailableError
from cloudia.protocol import TERMINAL_STATUSES, AttemptOutcome, Job, JobStatus, Message, QueuedJob, told_usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from types_boto3_dynamodb import DynamoDBClient

    from cloudia.cloud.budgets import Budgets
    from cloudia.cloud.job_index import JobState
    from cloudia.stack import Stack

__all__ = ["Jobs"]

_ABANDON_SECONDS = 30.0
_BATCH_GET = 100  # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html


class Jobs:
    """The jobs of a stack, in DynamoDB. All methods block; all raise `UnavailableError` where DynamoDB is away."""

    def __init__(self, dynamodb: DynamoDBClient, stack: Stack) -> None:
        self._db = dynamodb
        self._stack = stack
        self._table = stack.jobs.name

    # --- reading ---------------------------------------------------------------------------------------------------

    def get(self, job_id: str, user_id: str) -> Job:
        """Return a job of this user. `NotFoundError` where there is none, or it is someone else's."""
        record = self._get(job_id)
        if record is None or record["user_id"] != user_id:
            raise NotFoundError("there is no such job", code="no_job")
        return job_of(record)

    def _get(self, job_id: str) -> dict[str, Any] | None:
        return job_record(self._db, self._stack, job_id)

    def records(self, job_ids: Iterable[str]) -> dict[str, Job]:
        """Return those of these jobs that there are, whosever they are."""
        wanted = list(dict.fromkeys(job_ids))
        found: dict[str, Job] = {}
        for start in range(0, len(wanted), _BATCH_GET):
            keys = [to_item({"job_id": job_id}) for job_id in wanted[start : start + _BATCH_GET]]
            request: Any = {self._table: {"Keys": keys, "ConsistentRead": True}}
            while request:
                answer = call(self._db.batch_get_item, RequestItems=request)
                for item in answer["Responses"].get(self._table, []):
                    job = job_of(from_item(item))
                    found[job.job_id] = job
                request = answer.get("UnprocessedKeys")
        return found

    def first_open(self, questions: Iterable[Message]) -> QueuedJob | None:
        """Return the first job of these user messages that has not ended, as the queue has it; None where all have."""
        for question in questions:
            record = self._get(question.job_id)
            if record is not None and record["status"] not in TERMINAL_STATUSES:
                return queued_job(record, question.content)
        return None

    def in_state(self, state: JobState, *, since: float = 0.0, most: int) -> list[tuple[str, str]]:
        """Return `(job_id, state_since)` of the jobs that came into a state after `since` (epoch seconds), newest first.

        An index is behind its table for a moment: what came into the state just now may be seen by the next call only.
        """
        return list(islice(self.each_in_state(state, since=since, page=most), most))

    def each_in_state(
        self, state: JobState, *, since: float, until: float | None = None, page: int = 1000
    ) -> Iterator[tuple[str, str]]:
        """Yield what `in_state` returns, however many there are, those at `until` too; `page` are asked for at once."""
        for entries in pages(self._db, self._table, state, since=since, until=until, most=page):
            yield from ((entry["job_id"]["S"], entry["state_since"]["S"]) for entry in entries)

    def oldest_open(self) -> str | None:
        """Return since when the job that has been open for longest is so, as ISO 8601; None where none is open."""
        entries = next(pages(self._db, self._table, "open", before=time.time(), most=1))
        return entries[0]["state_since"]["S"] if entries else None

    # --- reopening -------------------------------------------------------------------------------------------------

    def reopen(
        self, job: QueuedJob, *, letter: str, edited: bool = False
    ) -> Reopened | Resent | Ended | Held | Deleted | Unknown:
        """Queue a dead job again: attempts from 0, its error cleared, its fence kept, so that it only ever grows.

        `letter` names the dead letter that this is done for: the same one again changes nothing more. A job that SQS moved
        by itself, because its workers died, is queued or running still; it is reopened where nobody holds its lease.
        Where the job was `edited`, its text is written to the user's message, together with the job. The model that is asked
        for is in the record, for whoever sends the job again.
        """
        now = time.time()
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": to_item({"job_id": job.job_id}),
            "UpdateExpression": "SET #status = :queued, #state = :open, state_since = :stamp, attempts = :zero, "
            "#error = :none, lease_until = :zero, updated_at = :stamp, redriven_from = :letter, asked_model = :asked "
            "REMOVE reply_message_id, provider, #model, #usage, #finish, cancel_requested, resends",
            "ConditionExpression": "#status = :dead OR (#status IN (:queued, :running) "
            "AND (attribute_not_exists(lease_until) OR lease_until < :now) "
            "AND (attribute_not_exists(redriven_from) OR redriven_from <> :letter OR attempts = :zero))",
            "ExpressionAttributeNames": {
                "#status": "status",
                "#state": "state",
                "#error": "error",
                "#model": "model",
                "#usage": "usage",
                "#finish": "finish",
            },
            "ExpressionAttributeValues": values(
                open="open",
                queued="queued",
                running="running",
                dead="dead_lettered",
                zero=0,
                none={},
                now=now,
                stamp=ids.iso(now),
                letter=letter,
                asked=job.model,
            ),
        }
        refused = self._reopened(update, job, edited=edited)
        if not refused:
            return Reopened()
        record = self._get(job.job_id)
        if record is None:
            return Unknown()
        if refused[0] != "ConditionalCheckFailed":
            return Deleted()
        if record["status"] in TERMINAL_STATUSES:
            return Ended(job_of(record), record["fence"])
        if record.get("redriven_from") == letter:
            return Resent(job_of(record))
        return Held(record.get("lease_until", now))

    def _reopened(self, update: dict[str, Any], job: QueuedJob, *, edited: bool) -> list[str]:
        """Reopen a job whose message is there still. Return [] where it was done, else the reasons of both writes."""
        message: dict[str, Any] = {
            "TableName": self._stack.messages.name,
            "Key": to_item({"conversation_id": job.conversation_id, "message_id": job.message_id}),
            "ConditionExpression": "attribute_exists(message_id)",
        }
        if edited:
            message |= {
                "UpdateExpression": "SET content = :content",
                "ExpressionAttributeValues": values(content=job.content),
            }
        writes = [{"Update": update}, {"Update" if edited else "ConditionCheck": message}]
        for attempt in range(TRANSACTION_TRIES):
            reasons = transact(self._db, writes)
            if not reasons or "ConditionalCheckFailed" in reasons:
                return reasons
            pause(attempt)
        raise UnavailableError("others are writing to this job", hint="Try again.", code="job_busy")

    def abandon(
        self, job_id: str, *, owner: str, error: dict[str, Any] | None = None, status: JobStatus = "failed"
    ) -> Job | Held | Unknown:
        """End a job that nobody will answer, with the reason. Return it, or who has it now."""
        outcome = self.lease(job_id, owner, _ABANDON_SECONDS)
        match outcome:
            case Ended(job, _):
                return job
            case Lease(job):
                self.finish(outcome, status, content="", error=error, counts=False)
                return replace(job, status=status, error=error, attempts=job.attempts - 1)
            case _:
                return outcome

    # --- cancelling ------------------------------------------------------------------------------------------------

    def request_cancel(self, job_id: str, user_id: str) -> Job:
        """Ask whoever works on a job to stop. Return the job; one that has ended stays as it is."""
        try:
            answer = call(
                self._db.update_item,
                TableName=self._table,
                Key=to_item({"job_id": job_id}),
                UpdateExpression="SET cancel_requested = :true",
                ConditionExpression="user_id = :user AND #status IN (:queued, :running)",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=values(true=True, user=user_id, queued="queued", running="running"),
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return self.get(job_id, user_id)
        return job_of(from_item(answer["Attributes"]))

    def cancel_requested(self, job_ids: Iterable[str]) -> set[str]:
        """Return which of these jobs somebody asked to stop, as it was written last."""
        wanted = list(job_ids)
        found: set[str] = set()
        for start in range(0, len(wanted), _BATCH_GET):
            keys = [to_item({"job_id": job_id}) for job_id in wanted[start : start + _BATCH_GET]]
            answer = call(
                self._db.batch_get_item,
                RequestItems={
                    self._table: {
                        "Keys": keys,
                        "ProjectionExpression": "job_id, cancel_requested",
                        "ConsistentRead": True,
                    }
                },
            )
            for item in answer["Responses"].get(self._table, []):
                fields = from_item(item)
                if fields.get("cancel_requested"):
                    found.add(fields["job_id"])
        return found

    # --- working ---------------------------------------------------------------------------------------------------

    def lease(self, job_id: str, owner: str, seconds: float) -> LeaseOutcome:
        """Take a job for `seconds`, and count the attempt: both before any work, in one conditional write."""
        now = time.time()
        # The client sends a request whose answer was lost again, and that one would meet its own lease.
        token = secrets.token_hex(8)
        try:
            answer = call(
                self._db.update_item,
                TableName=self._table,
                Key=to_item({"job_id": job_id}),
                UpdateExpression="SET #status = :running, lease_owner = :owner, lease_token = :token, "
                "lease_until = :until, updated_at = :stamp, "
                "attempt_history = list_append(if_not_exists(attempt_history, :none), :begun) "
                "ADD fence :one, attempts :one",
                ConditionExpression="#status IN (:queued, :running) "
                "AND (attribute_not_exists(lease_until) OR lease_until < :now)",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=values(
                    queued="queued",
                    running="running",
                    owner=owner,
                    token=token,
                    until=now + seconds,
                    stamp=ids.iso(now),
                    one=1,
                    now=now,
                    none=[],
                    begun=[{"worker_id": owner, "began_at": round(now, 3)}],
                ),
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            found = self._get(job_id)
            if found is None:
                return Unknown()
            if found["status"] in TERMINAL_STATUSES:
                return Ended(job_of(found), found["fence"])
            if found.get("lease_token") != token:
                return Held(found.get("lease_until", now))
            record = found
        else:
            record = from_item(answer["Attributes"])
        return Lease(job_of(record), owner, record["fence"], now + seconds)

    def renew(self, lease: Lease, seconds: float) -> None:
        """Hold a lease for `seconds` more. `LostLeaseError` where another worker has the job, or it ended."""
        self._guarded(lease, "SET lease_until = :until", until=time.time() + seconds)

    def release(
        self,
        lease: Lease,
        *,
        error: dict[str, Any] | None = None,
        delay: int | None = None,
        hold: Hold | None = None,
        **effort: Unpack[Effort],
    ) -> None:
        """Give a lease back before its time, noting why the attempt failed and after how many seconds another follows.

        One without an error is a worker that stops: it costs the job no attempt. `hold` is what the job holds now, with what
        this attempt has spent.

        `LostLeaseError` as in `renew`.
        """
        now = time.time()
        outcome: AttemptOutcome = "retried" if error else "handed_back"
        self._guarded(
            lease,
            "SET lease_until = :until, #status = :queued, updated_at = :stamp, #error = :error, "
            f"attempt_history = :attempts{', #hold.spent = :spent' if hold and hold.held else ''} ADD attempts :counted",
            names={"#error": "error"} | ({"#hold": "hold"} if hold and hold.held else {}),
            **({"spent": hold.spent} if hold and hold.held else {}),
            counted=0 if error else -1,
            until=0,
            queued="queued",
            stamp=ids.iso(now),
            error=error or {},
            attempts=with_end(lease, now, outcome, error, delay=delay, **effort),
        )

    def _guarded(self, lease: Lease, update: str, names: dict[str, str] | None = None, **placeholders: Any) -> None:
        try:
            call(
                self._db.update_item,
                TableName=self._table,
                Key=to_item({"job_id": lease.job.job_id}),
                UpdateExpression=update,
                ConditionExpression="fence = :fence AND #status = :running",
                ExpressionAttributeNames={"#status": "status", **(names or {})},
                ExpressionAttributeValues=values(fence=lease.fence, running="running", **placeholders),
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            raise LostLeaseError(lease.job.job_id) from error

    def extend(self, lease: Lease, hold: Hold, amount: int, budgets: Budgets) -> Hold:
        """Let a job spend so many billionths of a dollar more, before it does. Return what it holds then.

        `PaymentRequiredError` where a budget does not reach; `LostLeaseError` as in `renew`.
        """
        now = time.time()
        more = replace(hold, held=hold.held + amount)
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": to_item({"job_id": lease.job.job_id}),
            "UpdateExpression": "SET #hold = :hold",
            "ConditionExpression": "fence = :fence AND #status = :running",
            "ExpressionAttributeNames": {"#status": "status", "#hold": "hold"},
            "ExpressionAttributeValues": values(fence=lease.fence, running="running", hold=more.to_json()),
        }
        takes = committing(self._stack.idempotency.name, hold.keys, amount, now=now, budgets=budgets)
        for attempt in range(TRANSACTION_TRIES):
            reasons = transact(self._db, [{"Update": update}, *takes])
            if not reasons:
                return more
            if reasons[0] == "ConditionalCheckFailed":
                raise LostLeaseError(lease.job.job_id)
            if "ConditionalCheckFailed" in reasons:
                raise over_budget(hold.keys[reasons.index("ConditionalCheckFailed") - 1], now=now)
            pause(attempt)
        raise UnavailableError("others are writing to this budget", hint="Try again.", code="job_busy")

    def finish(
        self,
        lease: Lease,
        status: JobStatus,
        *,
        content: str,
        error: dict[str, Any] | None = None,
        hold: Hold | None = None,
        counts: bool = True,
        **effort: Unpack[Effort],
    ) -> Message:
        """End a job and record its answer, together or not at all. Return the answer's message.

        Provider, model and usage of the attempt that ended it are the job's own. `hold` is as in `release`: what of it was not
        spent goes back to its budgets, in the same transaction.
        Where the lease was taken only to end it, it is no attempt that `counts`.

        Where the conversation was deleted meanwhile, the job ends and its answer is not kept.

        `LostLeaseError` where another worker has the job. Calling again after `UnavailableError` is safe: if the first
        call was done after all, this one says so.
        """
        now = time.time()
        job, stamp = lease.job, ids.iso(now)
        usage, model, finish = effort.get("usage"), effort.get("model"), effort.get("finish")
        reply = Message(
            message_id=ids.reply_id(job.message_id),
            conversation_id=job.conversation_id,
            role="assistant",
            content=content,
            created_at=stamp,
            job_id=job.job_id,
            status=status,
            error=error,
            usage=told_usage(usage),
            model=model,
            finish=finish,
        )
        ended = {
            "status": status,
            "state": status,
            "state_since": stamp,
            "updated_at": stamp,
            "reply_message_id": reply.message_id,
            "provider": effort.get("provider"),
            "model": model,
            "usage": usage,
            "finish": finish,
            "error": error or {},
            "lease_until": 0,
            "attempt_history": with_end(lease, now, cast("AttemptOutcome", status), error, **effort),
        }
        if not counts:
            before = [entry.to_json() for entry in job.attempt_history[:-1]]
            ended |= {"attempts": job.attempts - 1, "attempt_history": before}
        present = {name: value for name, value in ended.items() if value is not None}
        hold, kept = hold or Hold.of(job), True
        for attempt in range(TRANSACTION_TRIES):
            settled = self._settled(hold, now)
            writes = [self._ending(lease, present, hold), *settled, *(self._answer(job, reply) if kept else ())]
            reasons = transact(self._db, writes)
            if not reasons:
                return reply
            if reasons[0] == "ConditionalCheckFailed":
                record = self._get(job.job_id)
                if record is None or record["fence"] != lease.fence:
                    break
                if record["status"] == status:
                    return reply
                if not hold or record["status"] != "running" or "hold" not in record:
                    break
                hold = replace(hold, held=record["hold"]["held"])  # It was given more, and the answer to that was lost.
            elif (
                kept and reasons[-1] == "ConditionalCheckFailed"
            ):  # The conversation was deleted: nothing of it is kept.
                kept = False
            else:
                pause(attempt)
        else:
            raise UnavailableError("others are writing to this job", hint="Try again.", code="job_busy")
        raise LostLeaseError(job.job_id)

    def _ending(self, lease: Lease, present: dict[str, Any], hold: Hold | None) -> dict[str, Any]:
        """Return the write that ends a job under its lease, and with it what it holds."""
        fields = {**present, "charged": hold.spent} if hold else present
        held = " AND (attribute_not_exists(#hold) OR #hold.held = :held)" if hold else ""
        return {
            "Update": {
                "TableName": self._table,
                "Key": to_item({"job_id": lease.job.job_id}),
                "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in fields) + " REMOVE #hold",
                "ConditionExpression": f"fence = :fence AND #status = :running{held}",
                "ExpressionAttributeNames": {f"#{name}": name for name in [*fields, "hold"]},
                "ExpressionAttributeValues": values(
                    fence=lease.fence, running="running", **fields, **({"held": hold.held} if hold else {})
                ),
            }
        }

    def _settled(self, hold: Hold | None, now: float) -> list[Any]:
        """Return the writes that give back to its budgets what a job held and has not spent."""
        if hold is None:
            return []
        return committing(self._stack.idempotency.name, hold.keys, hold.spent - hold.held, now=now, budgets=None)

    def _answer(self, job: Job, reply: Message) -> tuple[dict[str, Any], ...]:
        """Return the writes that record an answer where its conversation is there still."""
        return (
            {"Put": {"TableName": self._stack.messages.name, "Item": to_item(reply.to_json())}},
            {
                "ConditionCheck": {
                    "TableName": self._stack.conversations.name,
                    "Key": to_item({"user_id": job.user_id, "conversation_id": job.conversation_id}),
                    "ConditionExpression": "attribute_exists(conversation_id)",
                }
            },
        )
