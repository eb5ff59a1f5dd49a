"""Presence: which workers and gateways are alive, said by themselves, and which has a duty that one has at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudia.cloud.aws import call, error_code
from cloudia.cloud.items import from_item, to_item, values

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

    from cloudia.stack import Stack

__all__ = ["BEAT_SECONDS", "Presence"]

BEAT_SECONDS = 5.0
_STALE_SECONDS = 20


class Presence:
    """Signs of life in DynamoDB. All methods block."""

    def __init__(self, dynamodb: DynamoDBClient, stack: Stack) -> None:
        self._db = dynamodb
        self._table = stack.presence.name

    def beat(self, part: str, part_id: str, **facts: Any) -> None:
        """Say that a part is alive now, with what else is worth knowing of it."""
        now = time.time()
        fields = {"part": part, "id": part_id, "seen_at": now, "expires_at": int(now) + _STALE_SECONDS, **facts}
        call(self._db.put_item, TableName=self._table, Item=to_item(fields))

    def leave(self, part: str, part_id: str) -> None:
        """Say that a part is about to end."""
        call(self._db.delete_item, TableName=self._table, Key=to_item({"part": part, "id": part_id}))

    def take_duty(self, duty: str, part_id: str, seconds: float) -> bool:
        """Take what one part of many does at a time, for `seconds`. False where another has it."""
        now = time.time()
        fields = {"part": "duty", "id": duty, "owner": part_id, "held_until": now + seconds}
        try:
            call(
                self._db.put_item,
                TableName=self._table,
                Item=to_item({**fields, "expires_at": int(now + seconds) + _STALE_SECONDS}),
                ConditionExpression="attribute_not_exists(held_until) OR held_until < :now",
                ExpressionAttributeValues=values(now=now),
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def alive(self, part: str) -> list[dict[str, Any]]:
        """Return who of a part was seen within 20 s: `id`, `seen_at` (epoch seconds) and its other facts."""
        answer = call(
            self._db.query,
            TableName=self._table,
            KeyConditionExpression="#part = :part",
            FilterExpression="seen_at > :since",
            ExpressionAttributeNames={"#part": "part"},
            ExpressionAttributeValues=values(part=part, since=time.time() - _STALE_SECONDS),
        )
        found = []
        for item in answer["Items"]:
            fields = from_item(item)
            del fields["part"], fields["expires_at"]
            found.append(fields)
        return found
