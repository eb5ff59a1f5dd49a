"""Transactions: several conditional writes, all of them or none."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudia.cloud.aws import call, error_code
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

__all__ = ["TRANSACTION_TRIES", "pause", "transact"]

TRANSACTION_TRIES = 10
"""How often a transaction that met another one is tried."""


def transact(dynamodb: DynamoDBClient, writes: list[dict[str, Any]]) -> list[str]:
    """Run a transaction. Return [] where it was done, else the reason of each write (`None`, `ConditionalCheckFailed`)."""
    try:
        call(dynamodb.transact_write_items, TransactItems=writes)  # type: ignore[arg-type]
    except ClientError as error:
        if error_code(error) != "TransactionCanceledException":
            raise
        reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
        codes = [str(reason.get("Code")) for reason in reasons]
        if any(code not in {"None", "ConditionalCheckFailed", "TransactionConflict"} for code in codes):
            raise UnavailableError("DynamoDB cancelled a transaction", code="aws_unavailable") from error
        return codes
    return []


def pause(attempt: int) -> None:
    """Let the others write."""
    time.sleep(random.uniform(0, 0.01 * (attempt + 1)))  # noqa: S311
