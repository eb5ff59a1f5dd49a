"""History: conversations and their messages, read in pages and never by a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.cloud.aws import call
from cloudia.cloud.items import decode_cursor, encode_cursor, from_item, to_item, values
from cloudia.errors import NotFoundError
from cloudia.protocol import Conversation, Message, Page

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

    from cloudia.stack import Stack

__all__ = ["History"]

_MESSAGE_FIELDS = frozenset(Message.__dataclass_fields__)


class History:
    """What was said, in DynamoDB. All methods block; all raise `UnavailableError` where DynamoDB is away."""

    def __init__(self, dynamodb: DynamoDBClient, stack: Stack) -> None:
        self._db = dynamodb
        self._conversations = stack.conversations
        self._messages = stack.messages

    def conversations(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page:
        """Return a page of a user's `Conversation`s, the one last written to first."""
        query: dict[str, Any] = {}
        if cursor:
            updated_at, conversation_id = decode_cursor(cursor, 2)
            query["ExclusiveStartKey"] = to_item(
                {"user_id": user_id, "updated_at": updated_at, "conversation_id": conversation_id}
            )
        answer = call(
            self._db.query,
            TableName=self._conversations.name,
            IndexName=self._conversations.indexes[0].name,
            KeyConditionExpression="user_id = :user",
            ExpressionAttributeValues=values(user=user_id),
            ScanIndexForward=False,
            Limit=limit,
            **query,
        )
        found = []
        for item in answer["Items"]:
            fields = from_item(item)
            found.append(
                Conversation(fields["conversation_id"], fields["title"], fields["created_at"], fields["updated_at"])
            )
        last = from_item(answer.get("LastEvaluatedKey", {}))
        following = encode_cursor(last["updated_at"], last["conversation_id"]) if last else None
        return Page(tuple(found), following)

    def messages(
        self, user_id: str, conversation_id: str, *, limit: int, cursor: str | None = None, newest_first: bool = False
    ) -> Page:
        """Return a page of a conversation's `Message`s. `NotFoundError` where the conversation is not this user's."""
        key = {"user_id": user_id, "conversation_id": conversation_id}
        owned = call(
            self._db.get_item,
            TableName=self._conversations.name,
            Key=to_item(key),
            ProjectionExpression="conversation_id",
            ConsistentRead=True,
        )
        if "Item" not in owned:
            raise NotFoundError("there is no such conversation", code="no_conversation")
        query: dict[str, Any] = {}
        if cursor:
            (message_id,) = decode_cursor(cursor, 1)
            query["ExclusiveStartKey"] = to_item({"conversation_id": conversation_id, "message_id": message_id})
        answer = call(
            self._db.query,
            TableName=self._messages.name,
            KeyConditionExpression="conversation_id = :conversation",
            ExpressionAttributeValues=values(conversation=conversation_id),
            ScanIndexForward=not newest_first,
            Limit=limit,
            ConsistentRead=True,
            **query,
        )
        last = from_item(answer.get("LastEvaluatedKey", {}))
        return Page(tuple(map(_message, answer["Items"])), encode_cursor(last["message_id"]) if last else None)

    def before(self, conversation_id: str, message_id: str, *, limit: int) -> list[Message]:
        """Return the last `limit` messages that stand before `message_id`, oldest first."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {}
        while True:  # An answer of DynamoDB has 1 MB at most.
            answer = call(
                self._db.query,
                TableName=self._messages.name,
                KeyConditionExpression="conversation_id = :conversation AND message_id < :message",
                ExpressionAttributeValues=values(conversation=conversation_id, message=message_id),
                ScanIndexForward=False,
                Limit=limit - len(found),
                ConsistentRead=True,
                **query,
            )
            found += answer["Items"]
            if len(found) >= limit or "LastEvaluatedKey" not in answer:
                return [_message(item) for item in reversed(found)]
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def message(self, conversation_id: str, message_id: str) -> Message | None:
        """Return one message, or None."""
        answer = call(
            self._db.get_item,
            TableName=self._messages.name,
            Key=to_item({"conversation_id": conversation_id, "message_id": message_id}),
            ConsistentRead=True,
        )
        return _message(answer["Item"]) if "Item" in answer else None


def _message(item: dict[str, Any]) -> Message:
    return Message(**{name: value for name, value in from_item(item).items() if name in _MESSAGE_FIELDS})
