"""Orphans: jobs that are open and that nobody has had to do with for a while, found by an index and never by a scan.

The function that accepted them died before it sent them, or their messages are gone from the queue: they were kept for as long
as it keeps messages, or SQS made them dead letters.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudia import ids
from cloudia.cloud.aws import call, error_code
from cloudia.cloud.items import from_item, to_item, values
from cloudia.cloud.job_index import pages
from cloudia.cloud.job_records import queued_job
from cloudia.protocol import TERMINAL_STATUSES, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_dynamodb import DynamoDBClient

    from cloudia.protocol import QueuedJob
    from cloudia.stack import Stack

__all__ = ["OpenJob", "Orphans"]

_PAGE = 100  # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenJob:
    """A job that has not ended, by its record."""

    job: QueuedJob
    """Without its text, which is in the user's message."""
    fence: int
    state_since: str
    touched_at: float
    """When it was accepted, sent again, taken, given back, or its lease ran out, in epoch seconds: the last of these."""
    resends: int
    """How often it was sent again, because nobody had to do with it."""


class Orphans:
    """The open jobs of a stack, in DynamoDB. All methods block; all raise `UnavailableError` where DynamoDB is away."""

    def __init__(self, dynamodb: DynamoDBClient, stack: Stack) -> None:
        self._db = dynamodb
        self._table = stack.jobs.name

    def open(self, *, before: float) -> Iterator[list[OpenJob]]:
        """Yield pages of the jobs that are open since a time before `before` (epoch seconds), oldest first."""
        for entries in pages(self._db, self._table, "open", before=before, most=_PAGE):
            yield [_open_job(record) for record in self._records(entries) if _is_open(record)]

    def oldest(self) -> str | None:
        """Return since when the oldest open job is, ISO 8601, by the index alone; None where none is open."""
        entries = next(pages(self._db, self._table, "open", before=time.time(), most=1))
        return str(entries[0]["state_since"]["S"]) if entries else None

    def _records(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the records of a page of the index, in its order."""
        found: dict[str, dict[str, Any]] = {}
        request: Any = {
            self._table: {"Keys": [{"job_id": entry["job_id"]} for entry in entries], "ConsistentRead": True}
        }
        while request and entries:
            answer = call(self._db.batch_get_item, RequestItems=request)
            for item in answer["Responses"].get(self._table, []):
                found[item["job_id"]["S"]] = from_item(item)
            request = answer.get("UnprocessedKeys")
        return [found[job_id] for entry in entries if (job_id := entry["job_id"]["S"]) in found]

    def claim(self, orphan: OpenJob) -> bool:
        """Note that a job is sent again now. False where somebody has had to do with it since it was read."""
        now = time.time()
        try:
            call(
                self._db.update_item,
                TableName=self._table,
                Key=to_item({"job_id": orphan.job.job_id}),
                UpdateExpression="SET state_since = :now, resends = :resends",
                ConditionExpression="#state = :open AND state_since = :since AND fence = :fence "
                "AND (attribute_not_exists(lease_until) OR lease_until < :clock)",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=values(
                    open="open",
                    now=ids.iso(now),
                    since=orphan.state_since,
                    fence=orphan.fence,
                    clock=now,
                    resends=orphan.resends + 1,
                ),
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return False
        return True


def _is_open(record: dict[str, Any]) -> bool:
    """Tell whether a job has not ended, as the index will say in a moment, and is for this version."""
    return record["status"] not in TERMINAL_STATUSES and record.get("v", 1) <= VERSION


def _open_job(record: dict[str, Any]) -> OpenJob:
    stamps = (record["state_since"], record.get("updated_at") or record["state_since"])
    return OpenJob(
        job=queued_job(record, ""),
        fence=record["fence"],
        state_since=record["state_since"],
        touched_at=max(*(datetime.fromisoformat(stamp).timestamp() for stamp in stamps), record.get("lease_until", 0)),
        resends=record.get("resends", 0),
    )
