"""A clock for what goes by the time."""

from __future__ import annotations


class Clock:
    """A clock that stands still until it is moved, in place of the module `time`.

    It stands in the future: what expires by it must not be dropped by the engine meanwhile.
    """

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        pass
