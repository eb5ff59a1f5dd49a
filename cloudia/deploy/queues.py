"""Provisioning of queues."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cloudia.cloud.aws import call
from cloudia.deploy.change import Change
from cloudia.deploy.lookup import found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.cloud.aws import Aws
    from cloudia.stack import Queue

__all__ = ["Queues"]


class Queues:
    """Brings queues into step."""

    def __init__(self, aws: Aws) -> None:
        self._sqs = aws.sqs

    def provision(self, queue: Queue, arns: Mapping[str, str]) -> tuple[Change, str]:
        """Return what was done, and the queue's ARN. `arns` are those of the queues before it, by name."""
        wanted = queue.attributes(arns[queue.dead_letters] if queue.dead_letters else None)
        url = self._url(queue)
        if url is None:
            url = call(self._sqs.create_queue, QueueName=queue.name, Attributes=wanted)["QueueUrl"]  # type: ignore[arg-type]
            return Change("queue", queue.name, "created"), self._attributes(url)["QueueArn"]
        there = self._attributes(url)
        drift = tuple(name for name, value in wanted.items() if not _same(there.get(name), value))
        if drift:
            # FifoQueue is set at creation and cannot change: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
            changed = {name: wanted[name] for name in drift}
            call(self._sqs.set_queue_attributes, QueueUrl=url, Attributes=changed)  # type: ignore[arg-type]
        return Change("queue", queue.name, "updated" if drift else "unchanged", drift), there["QueueArn"]

    def destroy(self, queue: Queue) -> Change:
        """Delete a queue."""
        url = self._url(queue)
        if url is None:
            return Change("queue", queue.name, "absent")
        call(self._sqs.delete_queue, QueueUrl=url)
        return Change("queue", queue.name, "deleted")

    def _url(self, queue: Queue) -> str | None:
        there = found(self._sqs.get_queue_url, QueueName=queue.name)
        return there["QueueUrl"] if there else None

    def _attributes(self, url: str) -> dict[str, str]:
        answer = call(self._sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["All"])
        return {str(name): value for name, value in answer["Attributes"].items()}


def _same(found: str | None, wanted: str) -> bool:
    """Compare attributes; a policy is JSON, and engines differ in how they write its numbers."""
    if found is None or not wanted.startswith("{"):
        return found == wanted
    left, right = json.loads(found), json.loads(wanted)
    return {name: str(value) for name, value in left.items()} == {name: str(value) for name, value in right.items()}
