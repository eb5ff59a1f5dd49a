"""What a connection still has to send: events in order, each once, without gaps. No I/O.

Published events are taken as they come while each follows the one before. Where one does not, or where a slow reader lets
too much pile up, the connection is `behind` until the event log was read from `head` on: the log is the buffer then.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from cloudia.cloud.events import Entry
from cloudia.protocol import event_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.cloud.sessions import Published

__all__ = ["Delivery"]


class Delivery:
    """The events between the log and one socket."""

    def __init__(self, after: str, *, most_bytes: int) -> None:
        self.head = after
        """The id of the last event that was taken, sent or not."""
        self.behind = True
        self._missed = False
        self._queue: deque[Entry] = deque()
        self._bytes = 0
        self._most_bytes = most_bytes

    @property
    def idle(self) -> bool:
        """Whether there is nothing to send, and nothing to read from the log."""
        return not self.behind and not self._queue

    def publish(self, published: Published) -> None:
        """Take an event that was published, if it is the next one and there is room for it."""
        if event_order(published.event_id) <= event_order(self.head):
            return
        if self.behind or published.previous_id != self.head or self._bytes > self._most_bytes:
            self.miss()
        else:
            self._take(Entry(published.event_id, published.payload))

    def miss(self) -> None:
        """Learn that something may have been published that did not arrive here."""
        self.behind = self._missed = True

    def begin_reading(self) -> str:
        """Return the id after which the log is to be read."""
        self._missed = False
        return self.head

    def catch_up(self, entries: Sequence[Entry], *, complete: bool) -> None:
        """Take what was read from the log; `complete` if there was no more when it was read."""
        for entry in entries:
            self._take(entry)
        self.behind = self._missed or not complete

    def next(self) -> Entry | None:
        """Return the next event to send, None where nothing waits."""
        if not self._queue:
            return None
        entry = self._queue.popleft()
        self._bytes -= len(entry.payload)
        return entry

    def _take(self, entry: Entry) -> None:
        self._queue.append(entry)
        self._bytes += len(entry.payload)
        self.head = entry.id
