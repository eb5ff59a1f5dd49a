"""The index of jobs by their state: whoever lists jobs asks it, and never the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from botocore.exceptions import ClientError

from cloudia import ids
from cloudia.cloud.aws import call, error_code
from cloudia.cloud.items import values
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_dynamodb import DynamoDBClient

__all__ = ["ENDS", "JobState", "pages"]

JobState: TypeAlias = Literal["open", "done", "failed", "cancelled", "dead_lettered"]
"""What the index `by_state` tells apart: `open` is `queued` and `running`, between which a job goes too often."""
ENDS: tuple[JobState, ...] = ("done", "failed", "cancelled", "dead_lettered")


def pages(
    dynamodb: DynamoDBClient,
    table: str,
    state: JobState,
    *,
    since: float | None = None,
    until: float | None = None,
    before: float | None = None,
    most: int,
) -> Iterator[list[dict[str, Any]]]:
    """Yield the entries (`job_id`, `state_since`) of jobs in a state, at most `most` a page.

    Those that came into it after `since` (epoch seconds), newest first; or `before`, oldest first. With `until` it is from
    `since` to then, both included. `UnavailableError` where a
    stack of an earlier version has no such index, or it is being filled.
    """
    newest_first = since is not None
    bound = since if since is not None else before
    assert bound is not None  # noqa: S101 - one of them is given
    compared, bounds = (">" if newest_first else "<") + " :bound", {"bound": ids.iso(bound)}
    if until is not None:
        compared, bounds = "BETWEEN :bound AND :until", {**bounds, "until": ids.iso(until)}
    query: dict[str, Any] = {}
    while True:
        try:
            answer = call(
                dynamodb.query,
                TableName=table,
                IndexName="by_state",
                KeyConditionExpression=f"#state = :state AND state_since {compared}",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=values(state=state, **bounds),
                ScanIndexForward=not newest_first,
                Limit=most,
                **query,
            )
        except ClientError as error:
            if error_code(error) != "ValidationException":
                raise
            raise UnavailableError(
                f"the table {table} has no index of states yet", hint="Run `cloudia provision`.", code="not_provisioned"
            ) from error
        yield answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
