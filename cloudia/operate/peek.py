"""Looking into a queue without consuming what is in it.

MiniStack and LocalStack show a queue's messages without any effect. SQS itself has nothing of the kind: there the messages
are received, held until all were seen, and handed back at once. For that moment they are hidden from others.
"""

from __future__ import annotations

import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request

from cloudia.cloud.aws import signed_headers
from cloudia.cloud.queue import BATCH, queue_message
from cloudia.direct import opener
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from cloudia.cloud.queue import JobQueue, QueueMessage

__all__ = ["PATIENCE_SECONDS", "Hands", "Look", "look", "peek"]

HOLD_SECONDS = 10
"""How long a message stays hidden after whoever holds it was killed; it is renewed while they live."""
PATIENCE_SECONDS = HOLD_SECONDS + 2.0
"""How long to wait for messages that others hold: longer than one who was killed can hold them."""
_PAUSE_SECONDS = (0.05, 0.4)
_PEEK_SECONDS = 10
_MOST_HELD = 2000
"""How many messages can be held and kept hidden, ten a request."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen in a queue, and how many messages were not: others held them, or they stand behind such."""

    messages: tuple[QueueMessage, ...]
    unseen: int = 0


def peek(queue: JobQueue) -> list[QueueMessage] | None:
    """Return all messages of a queue, those in flight too, without any effect. None where the service cannot do that."""
    endpoint = str(queue.sqs.meta.endpoint_url)
    parts = urlsplit(endpoint)
    if (parts.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
        return None
    url, region = queue.url, queue.sqs.meta.region_name
    base = f"{parts.scheme}://{parts.netloc}"
    told = _get(queue, f"{base}/_ministack/sqs/messages?{urlencode({'QueueUrl': url, 'region': region})}")
    if isinstance(told, dict) and isinstance(told.get("messages"), dict):
        queues = [queues for regions in told["messages"].values() for queues in regions.values()]
        return [_of_ministack(message) for named in queues for messages in named.values() for message in messages]
    account, name = urlsplit(url).path.strip("/").split("/")[-2:]
    told = _get(queue, f"{base}/_aws/sqs/messages/{region}/{account}/{name}?ShowInvisible=true&ShowDelayed=true")
    if isinstance(told, dict) and "ReceiveMessageResponse" not in told and not told.keys() - {"Messages"}:
        return [replace(queue_message(message), receipt="") for message in told.get("Messages") or []]
    return None


def _of_ministack(message: dict[str, Any]) -> QueueMessage:
    system = {
        **message.get("Attributes", {}),
        "MessageGroupId": message.get("MessageGroupId") or "",
        "ApproximateReceiveCount": message.get("ReceiveCount", 0),
        "IsVisible": "true" if message.get("IsVisible", True) else "false",
    }
    return queue_message({**message, "Attributes": system})


def _get(queue: JobQueue, url: str) -> Any:
    """Return the JSON at a URL of a queue's engine, None where there is none. It is asked as by a call of AWS's."""
    headers = {"Content-Type": "application/x-amz-json-1.0", "Accept": "application/json"}
    request = Request(url, headers=signed_headers(queue.sqs, url, headers))  # noqa: S310 - an engine's
    with suppress(URLError, OSError, ValueError), opener(url).open(request, timeout=_PEEK_SECONDS) as answer:
        return json.load(answer)
    return None


def look(queue: JobQueue, *, patience: float = PATIENCE_SECONDS) -> Look:
    """Return what a queue holds. `patience` bounds the wait for messages that others hold, in seconds.

    `UnavailableError` where SQS is away.
    """
    queue.stats()  # Says what is wrong where the service is away: a peek that fails only says that there is none.
    seen = peek(queue)
    if seen is not None:
        return Look(tuple(seen))
    found: list[QueueMessage] = []
    with Hands(queue) as hands:
        for taken in hands.all(patience=patience):
            found += taken
    return Look(tuple(found), hands.unseen)


class Hands:
    """Messages taken from a queue and held. At the end of the block all that were not deleted are handed back."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._held: dict[str, QueueMessage] = {}
        self._seen: set[str] = set()
        self._renewed_at = time.monotonic()
        self.unseen = 0
        """After `all` has ended: how many messages it did not get hold of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(UnavailableError):  # They come back by themselves.
            self._hand_back()

    def all(self, *, patience: float, most: int = BATCH) -> Iterator[list[QueueMessage]]:
        """Yield the queue's messages in batches, each message once, until none is left that is not held.

        Where others hold some, these are waited for: `patience` seconds after the last new one. Meanwhile what is held here
        is handed back, or two who wait for each other would do so in vain. Of a group, SQS gives further messages only when
        those before were deleted or handed back; what stands behind a held one stays unseen, and so does what comes after
        the first 2000 that are held.
        """
        deadline = time.monotonic() + patience
        wait = 0  # A short poll asks some of the servers of SQS, a long one all of them.
        while True:
            self.renew()
            taken = self._queue.take(most=most, wait_seconds=wait, visibility_seconds=HOLD_SECONDS)
            self._held |= {message.message_id: message for message in taken}
            new = [message for message in taken if message.message_id not in self._seen]
            if new:
                deadline = time.monotonic() + patience
                self._seen |= {message.message_id for message in new}
                yield new
            if taken and len(self._held) < _MOST_HELD:
                wait = 0
                continue
            stats = self._queue.stats()
            if stats.total <= len(self._held):
                self.unseen = 0
                return
            self.unseen = max(0, stats.total - len(self._seen))
            if taken:
                return
            if stats.visible and not wait:
                wait = 1
                continue
            others_hold = stats.in_flight > len(self._held) or stats.delayed
            if (self._held and not others_hold) or time.monotonic() > deadline:
                return
            wait = 0
            self._hand_back()
            time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311

    def renew(self) -> None:
        """Keep hidden what is held, where it is time."""
        if time.monotonic() - self._renewed_at > HOLD_SECONDS / 3:
            self._change(HOLD_SECONDS)
            self._renewed_at = time.monotonic()

    def delete(self, messages: Sequence[QueueMessage]) -> None:
        """Delete messages that are held. One whose time ran out comes back: whoever takes it then has to know what to do."""
        for start in range(0, len(messages), BATCH):
            self._queue.delete([message.receipt for message in messages[start : start + BATCH]])
        for message in messages:
            self._held.pop(message.message_id, None)
            self._seen.discard(message.message_id)

    def _hand_back(self) -> None:
        self._change(0)
        self._held.clear()

    def _change(self, seconds: int) -> None:
        held = list(self._held.values())
        for start in range(0, len(held), BATCH):
            self._queue.change_visibility([message.receipt for message in held[start : start + BATCH]], seconds)
