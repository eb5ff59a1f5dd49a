"""What the functions have logged in the engine, where they run from their zips: read from its CloudWatch Logs when asked."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from cloudia.cloud.aws import call, is_missing
from cloudia.errors import CloudiaError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudia.cloud.aws import Aws
    from cloudia.stack import Stack

__all__ = ["FunctionLogs"]

_BEFORE_SECONDS = 3600
"""How far back the first look goes."""
_LOOK_SECONDS = 1.0
_PAGE = 10_000  # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
_PAGES = 20
_OF_LAMBDA = ("START RequestId:", "END RequestId:", "REPORT RequestId:")


class FunctionLogs:
    """Reads the last `lines` of the last hour, then what comes, as `tail.Tail` does of a file; looks once a second at most.

    While the engine is away, nothing comes.
    """

    def __init__(self, aws: Aws, stack: Stack, *, lines: int) -> None:
        self._logs = aws.logs
        self._lines: int | None = lines
        since = int((time.time() - _BEFORE_SECONDS) * 1000)
        self._read_to = dict.fromkeys(stack.log_groups, (since, 0))
        """By log group: a time in milliseconds, and how many events of that time were read."""
        self._next = 0.0

    def read(self) -> list[str]:
        """Return the lines that were added since the last call, in order."""
        if time.monotonic() < self._next:
            return []
        self._next = time.monotonic() + _LOOK_SECONDS
        found: deque[tuple[int, str]] = deque(maxlen=self._lines)
        for group in self._read_to:
            try:
                added = [*self._events(group)]
            except CloudiaError:
                break
            found = deque(sorted([*found, *added], key=lambda event: event[0]), maxlen=self._lines)
        self._lines = None
        return [line for _, line in found]

    def _events(self, group: str) -> Iterator[tuple[int, str]]:
        for _ in range(_PAGES):
            since, read = self._read_to[group]
            events = self._page(group, since)
            for event in events[read:]:
                line = event["message"].rstrip("\n")
                if line and not line.startswith(_OF_LAMBDA):
                    yield event["timestamp"], line
            if events:
                last = events[-1]["timestamp"]
                self._read_to[group] = last, sum(event["timestamp"] == last for event in events)
            if len(events) < _PAGE:
                return

    def _page(self, group: str, since: int) -> list[dict[str, Any]]:
        try:
            answer = call(self._logs.filter_log_events, logGroupName=group, startTime=since, limit=_PAGE)
        except UnavailableError as error:
            if is_missing(error):  # It was not called yet.
                return []
            raise
        events: list[dict[str, Any]] = answer["events"]
        return events
