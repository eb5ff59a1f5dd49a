"""History: conversations and their messages, read in pages and never by a scan."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudia.cloud.aws import call, error_code
from cloudia.cloud.items import decode_cursor, encode_cursor, from_item, to_item, values
from cloudia.errors import NotFoundError, UnavailableError
from cloudia.protocol import Conversation, Message, Page

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

    from cloudia.stack import Stack

__all__ = ["SEARCH_CONVERSATIONS", "History"]

SEARCH_CONVERSATIONS = 50
"""How many conversations one search looks into, at most."""
_SEARCH_MESSAGES = 50
_SNIPPET, _SNIPPET_BEFORE = 120, 40
_BATCH_WRITE = 25  # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
_BATCH_TRIES = 6


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
        found = [_conversation(item) for item in answer["Items"]]
        last = from_item(answer.get("LastEvaluatedKey", {}))
        following = encode_cursor(last["updated_at"], last["conversation_id"]) if last else None
        return Page(tuple(found), following)

    def search(self, user_id: str, words: list[str], *, limit: int, cursor: str | None = None) -> Page:
        """Return those of a page of `conversations` that have each of `words`, which are casefolded.

        They are looked for in the title, then in the newest messages: at most one request to DynamoDB a conversation, for
        at most 50 messages or 1 MB. There is no index of words.
        """
        page = self.conversations(user_id, limit=min(limit, SEARCH_CONVERSATIONS), cursor=cursor)
        found = [self._found(conversation, words) for conversation in page.items]
        return Page(tuple(filter(None, found)), page.next_cursor)

    def _found(self, conversation: Conversation, words: list[str]) -> Conversation | None:
        title = conversation.title.casefold()
        missing = [word for word in words if word not in title]
        if not missing:
            return conversation
        answer = call(
            self._db.query,
            TableName=self._messages.name,
            KeyConditionExpression="conversation_id = :conversation",
            ExpressionAttributeValues=values(conversation=conversation.conversation_id),
            ProjectionExpression="content",
            ScanIndexForward=False,
            Limit=_SEARCH_MESSAGES,
        )
        contents = [str(from_item(item).get("content") or "") for item in answer["Items"]]
        texts = [content.casefold() for content in contents]
        if not all(any(word in text for text in texts) for word in missing):
            return None
        place = next(index for index, text in enumerate(texts) if missing[0] in text)
        return replace(conversation, snippet=_snippet(contents[place], missing[0]))

    def messages(
        self, user_id: str, conversation_id: str, *, limit: int, cursor: str | None = None, newest_first: bool = False
    ) -> Page:
        """Return a page of a conversation's `Message`s. `NotFoundError` where the conversation is not this user's."""
        key = {"user_id": user_id, "conversation_id": conversation_id}
        owned = call(
            self._db.get_item,
            TableName=self._conversations.name,
            Key=to_item(key),
            ConsistentRead=True,
        )
        if "Item" not in owned:
            raise _no_conversation()
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
        following = encode_cursor(last["message_id"]) if last else None
        return Page(tuple(map(_message, answer["Items"])), following, _conversation(owned["Item"]))

    def rename(self, user_id: str, conversation_id: str, title: str) -> Conversation:
        """Set a conversation's title. Return it. `NotFoundError` where it is not this user's."""
        try:
            answer = call(
                self._db.update_item,
                TableName=self._conversations.name,
                Key=to_item({"user_id": user_id, "conversation_id": conversation_id}),
                UpdateExpression="SET title = :title",
                ConditionExpression="attribute_exists(conversation_id)",
                ExpressionAttributeValues=values(title=title),
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            raise _no_conversation() from error
        return _conversation(answer["Attributes"])

    def unanswered(self, user_id: str, conversation_id: str) -> list[str]:
        """Return the ids of the last jobs of a conversation that have no answer. `NotFoundError` as in `messages`."""
        newest = self.messages(user_id, conversation_id, limit=100, newest_first=True).items
        answered = {message.job_id for message in newest if message.role == "assistant"}
        return [message.job_id for message in newest if message.role == "user" and message.job_id not in answered]

    def delete(self, user_id: str, conversation_id: str) -> None:
        """Delete a conversation's messages, then itself: what breaks off in between can be asked for again."""
        query: dict[str, Any] = {}
        while True:
            answer = call(
                self._db.query,
                TableName=self._messages.name,
                KeyConditionExpression="conversation_id = :conversation",
                ExpressionAttributeValues=values(conversation=conversation_id),
                ProjectionExpression="conversation_id, message_id",
                ConsistentRead=True,
                **query,
            )
            keys = answer["Items"]
            for start in range(0, len(keys), _BATCH_WRITE):
                self._delete_messages(keys[start : start + _BATCH_WRITE])
            if "LastEvaluatedKey" not in answer:
                break
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        call(
            self._db.delete_item,
            TableName=self._conversations.name,
            Key=to_item({"user_id": user_id, "conversation_id": conversation_id}),
        )

    def _delete_messages(self, keys: list[dict[str, Any]]) -> None:
        """Delete up to 25 messages. `UnavailableError` where DynamoDB keeps putting some of them off."""
        writes: Any = {self._messages.name: [{"DeleteRequest": {"Key": key}} for key in keys]}
        for attempt in range(_BATCH_TRIES):
            writes = call(self._db.batch_write_item, RequestItems=writes).get("UnprocessedItems")
            if not writes:
                return
            time.sleep(0.05 * 2**attempt)
        raise UnavailableError("DynamoDB is too busy", hint="Try again.", code="aws_unavailable")

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


def _no_conversation() -> NotFoundError:
    return NotFoundError("there is no such conversation", code="no_conversation")


def _snippet(content: str, word: str) -> str:
    """Return what stands around a casefolded word, in one line."""
    line = " ".join(content.split())
    at = max(0, line.casefold().find(" ".join(word.split())) - _SNIPPET_BEFORE)
    return f"{'…' if at else ''}{line[at : at + _SNIPPET]}{'…' if at + _SNIPPET < len(line) else ''}"


def _conversation(item: dict[str, Any]) -> Conversation:
    fields = from_item(item)
    return Conversation(fields["conversation_id"], fields["title"], fields["created_at"], fields["updated_at"])


def _message(item: dict[str, Any]) -> Message:
    return Message.from_json(from_item(item))
