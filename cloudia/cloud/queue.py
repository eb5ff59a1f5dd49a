"""The queue of jobs: SQS FIFO, one message group a conversation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cloudia.cloud.aws import call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from types_boto3_sqs import SQSClient

    from cloudia.protocol import QueuedJob
    from cloudia.stack import Queue

__all__ = ["BATCH", "JobQueue", "Received"]

BATCH = 10
"""Most messages of one SQS request."""

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_REFUSED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Received:
    """A message in flight: ours until its visibility runs out, and deleted or changed by its receipt."""

    receipt: str
    body: str
    group: str
    message_id: str
    receive_count: int


class JobQueue:
    """One queue. All methods block; all raise `UnavailableError` where SQS is away or the queue is not there yet."""

    def __init__(self, sqs: SQSClient, queue: Queue) -> None:
        self._sqs = sqs
        self._name = queue.name

    @cached_property
    def url(self) -> str:
        """The queue's URL, asked for once."""
        return call(self._sqs.get_queue_url, QueueName=self._name)["QueueUrl"]

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
        self, body: str, *, group: str, deduplication_id: str, attributes: Mapping[str, str] | None = None
    ) -> None:
        """Enqueue a body as it is, with string attributes: how a dead letter is written.

        An empty attribute is left out; characters that SQS refuses are replaced, for an error may quote anything.
        """
        call(
            self._sqs.send_message,
            QueueUrl=self.url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=deduplication_id,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": _REFUSED.sub("\ufffd", value)}
                for name, value in (attributes or {}).items()
                if value
            },
        )

    def receive(self, *, most: int, wait_seconds: int, visibility_seconds: int) -> list[Received]:
        """Wait for up to `most` (at most 10) messages; an empty list after `wait_seconds` without one."""
        answer = call(
            self._sqs.receive_message,
            QueueUrl=self.url,
            MaxNumberOfMessages=min(most, BATCH),
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=visibility_seconds,
            MessageSystemAttributeNames=["MessageGroupId", "ApproximateReceiveCount"],
        )
        return [
            Received(
                receipt=message["ReceiptHandle"],
                body=message["Body"],
                group=message["Attributes"]["MessageGroupId"],
                message_id=message["MessageId"],
                receive_count=int(message["Attributes"]["ApproximateReceiveCount"]),
            )
            for message in answer.get("Messages", [])
        ]

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
