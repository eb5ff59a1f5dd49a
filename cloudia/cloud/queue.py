"""The queue of jobs: SQS FIFO, one message group a conversation."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudia.cloud.aws import call, error_code
from cloudia.errors import CloudiaError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from types_boto3_sqs import SQSClient

    from cloudia.protocol import QueuedJob
    from cloudia.stack import Queue

__all__ = [
    "BATCH",
    "MOST_ATTRIBUTES",
    "REFUSED",
    "Attribute",
    "JobQueue",
    "QueueMessage",
    "QueueStats",
    "Received",
    "Sending",
    "queue_message",
]

BATCH = 10
"""Most messages of one SQS request."""

MOST_ATTRIBUTES = 10
"""Most attributes of one message."""

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_RECEIVE_COUNT = "ApproximateReceiveCount"
_BATCH_BYTES = 240_000
"""Most bytes of one request: SQS took 256 KB in all for a long time, and some engines do still."""
_NO_ACTION = frozenset({"InvalidAction", "UnsupportedOperation", "UnknownOperationException", "NotImplemented", "501"})
"""How services say that they know no move task."""
REFUSED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a message bears beside its body. `type` is `String`, `Number` or `Binary`, also with a label: `Number.float`.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
    """

    value: str | bytes
    """Bytes where it is binary."""
    type: str = "String"


@dataclass(frozen=True, slots=True)
class Received:
    """A message in flight: ours until its visibility runs out, and deleted or changed by its receipt."""

    receipt: str
    body: str
    group: str
    message_id: str
    receive_count: int
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    """Ours have none."""


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message with everything on it, seen in a queue or taken from it."""

    message_id: str
    body: str
    group: str
    sent_at: float
    """Epoch seconds; a message that SQS moved to its dead letters was sent when it was moved."""
    receive_count: int
    attributes: Mapping[str, Attribute]
    source_arn: str = ""
    """The queue that SQS moved it from; empty where someone sent it here."""
    visible: bool = True
    receipt: str = ""
    """Empty where it was only looked at."""

    def told(self, name: str) -> str:
        """Return what a text among its attributes says, empty where there is none of this name."""
        attribute = self.attributes.get(name)
        return attribute.value if attribute and isinstance(attribute.value, str) else ""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How many messages a queue holds, as SQS says: on AWS these are approximate for about a minute."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.visible + self.in_flight + self.delayed


@dataclass(frozen=True, slots=True)
class Sending:
    """A message to send."""

    body: str
    group: str
    deduplication_id: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


class JobQueue:
    """One queue. All methods block; all raise `UnavailableError` where SQS is away or the queue is not there yet."""

    def __init__(self, sqs: SQSClient, queue: Queue) -> None:
        self._sqs = sqs
        self._queue = queue
        self.name = queue.name

    @cached_property
    def url(self) -> str:
        """The queue's URL, asked for once."""
        return call(self._sqs.get_queue_url, QueueName=self.name)["QueueUrl"]

    def send(self, job: QueuedJob) -> None:
        """Enqueue a job. Twice within five minutes is once: the deduplication id is the job's."""
        call(
            self._sqs.send_message,
            QueueUrl=self.url,
            MessageBody=job.encode(),
            MessageGroupId=job.conversation_id,
            MessageDeduplicationId=job.job_id,
        )

    def send_raw(
        self, body: str, *, group: str, deduplication_id: str, attributes: Mapping[str, Attribute] | None = None
    ) -> None:
        """Enqueue a body as it is, with attributes: how a dead letter is written.

        An empty attribute is left out; characters that SQS refuses are replaced, for an error may quote anything.
        """
        call(
            self._sqs.send_message,
            QueueUrl=self.url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=deduplication_id,
            MessageAttributes=_attributes(attributes or {}),
        )

    def send_batch(self, messages: Sequence[Sending]) -> list[int]:
        """Enqueue any number of messages, ten a request. Return the positions of those that SQS refused."""
        refused = []
        for start, batch in _batches(messages):
            entries: list[Any] = [
                {
                    "Id": str(index),
                    "MessageBody": message.body,
                    "MessageGroupId": message.group,
                    "MessageDeduplicationId": message.deduplication_id,
                    "MessageAttributes": _attributes(message.attributes),
                }
                for index, message in enumerate(batch)
            ]
            answer = call(self._sqs.send_message_batch, QueueUrl=self.url, Entries=entries)
            refused += [start + int(failed["Id"]) for failed in answer.get("Failed", [])]
        return refused

    def worn(self, message: Received) -> bool:
        """Tell whether a message was received so often that it has to be sent anew, lest SQS makes it a dead letter."""
        return message.receive_count >= self._queue.worn_receive_count

    def send_anew(self, messages: Sequence[Received]) -> list[Received]:
        """Enqueue messages once more, as if they had never been received. Return those that are; the old are to be deleted."""
        anew = [
            Sending(each.body, each.group, f"{each.message_id}-{each.receive_count}", each.attributes)
            for each in messages
        ]
        refused = set(self.send_batch(anew))
        return [message for place, message in enumerate(messages) if place not in refused]

    def receive(self, *, most: int, wait_seconds: int, visibility_seconds: int) -> list[Received]:
        """Wait for up to `most` (at most 10) messages; an empty list after `wait_seconds` without one."""
        messages = self._receive(
            most,
            wait_seconds,
            visibility_seconds,
            MessageSystemAttributeNames=["MessageGroupId", _RECEIVE_COUNT],
            MessageAttributeNames=["All"],
        )
        return [
            Received(
                receipt=message["ReceiptHandle"],
                body=message["Body"],
                group=message["Attributes"]["MessageGroupId"],
                message_id=message["MessageId"],
                receive_count=int(message["Attributes"][_RECEIVE_COUNT]),
                attributes=_read_attributes(message),
            )
            for message in messages
        ]

    def take(self, *, most: int, wait_seconds: int, visibility_seconds: int) -> list[QueueMessage]:
        """Receive up to `most` (at most 10) messages with everything on them."""
        messages = self._receive(
            most, wait_seconds, visibility_seconds, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"]
        )
        return [queue_message(message) for message in messages]

    def _receive(self, most: int, wait_seconds: int, visibility_seconds: int, **names: Any) -> list[Any]:
        """Receive messages as SQS gives them, with the attributes of these `names`."""
        answer = call(
            self._sqs.receive_message,
            QueueUrl=self.url,
            MaxNumberOfMessages=min(most, BATCH),
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=visibility_seconds,
            **names,
        )
        return list(answer.get("Messages", []))

    def stats(self) -> QueueStats:
        """Return how many messages there are."""
        counts = self._all_attributes()
        names = ("", "NotVisible", "Delayed")
        return QueueStats(*(int(counts.get(f"ApproximateNumberOfMessages{name}", 0)) for name in names))

    @property
    def arn(self) -> str:
        """The queue's ARN."""
        return str(self._all_attributes()["QueueArn"])

    def _all_attributes(self) -> Mapping[str, str]:
        answer: Any = call(self._sqs.get_queue_attributes, QueueUrl=self.url, AttributeNames=["All"])
        return dict(answer.get("Attributes", {}))

    def check_moves(self) -> None:
        """Ask whether SQS moves this queue's messages by itself. `CloudiaError` where this service cannot."""
        self._move(self._sqs.list_message_move_tasks, SourceArn=self.arn)

    def move_all(self, target: JobQueue, *, rate: int | None) -> None:
        """Have SQS move all messages to another queue, at most `rate` a second. Returns when it has begun to.

        `CloudiaError` where this service cannot.
        """
        extra = {"MaxNumberOfMessagesPerSecond": rate} if rate else {}
        self._move(self._sqs.start_message_move_task, SourceArn=self.arn, DestinationArn=target.arn, **extra)

    def _move(self, method: Callable[..., Any], **request: Any) -> None:
        try:
            call(method, **request)
        except (ClientError, UnavailableError) as error:
            cause = error.__cause__ if isinstance(error, UnavailableError) else error
            if not isinstance(cause, ClientError) or error_code(cause) not in _NO_ACTION:
                raise
            raise CloudiaError(
                "this queue service has no move task",
                hint="Leave --native out: cloudia moves the letters itself.",
                code="no_move_task",
            ) from error

    @property
    def sqs(self) -> SQSClient:
        """The client."""
        return self._sqs

    def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to 10 messages. Return the receipts that were refused: their visibility had run out."""
        entries: list[Any] = [{"Id": str(index), "ReceiptHandle": receipt} for index, receipt in enumerate(receipts)]
        answer = call(self._sqs.delete_message_batch, QueueUrl=self.url, Entries=entries)
        return [receipts[int(failed["Id"])] for failed in answer.get("Failed", [])]

    def change_visibility(self, receipts: Sequence[str], seconds: int) -> list[str]:
        """Let up to 10 messages stay hidden for `seconds` from now. Return the receipts that were refused."""
        entries: list[Any] = [
            {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
            for index, receipt in enumerate(receipts)
        ]
        answer = call(self._sqs.change_message_visibility_batch, QueueUrl=self.url, Entries=entries)
        return [receipts[int(failed["Id"])] for failed in answer.get("Failed", [])]


def queue_message(message: Mapping[str, Any]) -> QueueMessage:
    """Return a message as `ReceiveMessage` gives it; engines that let one look give it in the same form."""
    system = message.get("Attributes") or {}
    return QueueMessage(
        message_id=message["MessageId"],
        body=message["Body"],
        group=str(system.get("MessageGroupId", "")),
        sent_at=int(system.get("SentTimestamp") or 0) / 1000,
        receive_count=int(system.get("ApproximateReceiveCount") or 0),
        attributes=_read_attributes(message),
        source_arn=str(system.get("DeadLetterQueueSourceArn", "")),
        visible=system.get("IsVisible", "true") == "true",
        receipt=str(message.get("ReceiptHandle") or ""),
    )


def _read_attributes(message: Mapping[str, Any]) -> dict[str, Attribute]:
    """Return the attributes of a message. What lets one look gives bytes as base64, which `ReceiveMessage` has decoded."""
    attributes = {}
    for name, told in (message.get("MessageAttributes") or {}).items():
        kind = str(told.get("DataType") or "String")
        if (text := told.get("StringValue")) is not None:
            attributes[name] = Attribute(str(text), kind)
        elif (raw := told.get("BinaryValue")) is not None:
            attributes[name] = Attribute(raw if isinstance(raw, bytes) else base64.b64decode(raw), kind)
    return attributes


def _attributes(attributes: Mapping[str, Attribute]) -> Any:
    """Return attributes in the form of the wire, without the empty ones."""
    return {
        name: {"DataType": attribute.type, "BinaryValue": attribute.value}
        if isinstance(attribute.value, bytes)
        else {"DataType": attribute.type, "StringValue": REFUSED.sub("\ufffd", attribute.value)}
        for name, attribute in attributes.items()
        if attribute.value
    }


def _batches(messages: Sequence[Sending]) -> Iterator[tuple[int, Sequence[Sending]]]:
    """Yield the messages in batches that fit into a request, each with the position of its first."""
    start, size = 0, 0
    for index, message in enumerate(messages):
        own = len(message.body.encode()) + sum(_bytes(attribute) for attribute in message.attributes.values())
        if index > start and (index - start == BATCH or size + own > _BATCH_BYTES):
            yield start, messages[start:index]
            start, size = index, 0
        size += own
    if messages:
        yield start, messages[start:]


def _bytes(attribute: Attribute) -> int:
    return len(attribute.value if isinstance(attribute.value, bytes) else attribute.value.encode())
