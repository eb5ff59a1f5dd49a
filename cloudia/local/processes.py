"""Processes of other runs: known by id and start time, so that a recycled id is never mistaken for ours."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    import psutil

__all__ = ["Process"]

_SAME_SECONDS = 5.0
_LOOK_SECONDS = 0.01
_KILL_SECONDS = 5.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it was when it was noted."""

    pid: int
    started_at: float
    """Epoch seconds, as the system says."""

    @classmethod
    def own(cls) -> Self:
        """Return this process."""
        import psutil  # noqa: PLC0415 - who only reads of a process needs none

        process = psutil.Process()
        return cls(process.pid, process.create_time())

    def to_json(self) -> dict[str, Any]:
        """Return `{"pid", "started_at"}`."""
        return asdict(self)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._ask(lambda _: True) is not None

    def resident_bytes(self) -> int | None:
        """Return the memory it holds, None where it has ended."""
        return self._ask(lambda process: int(process.memory_info().rss))

    def status(self) -> str | None:
        """Return its state as psutil calls it, None where it has ended."""
        return self._ask(lambda process: str(process.status()))

    def send(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        self._ask(lambda process: process.send_signal(number))

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, at most `seconds`. Return whether it has."""
        process = self._ask(lambda process: process)
        return process is None or _wait([process], seconds)

    def kill_tree(self) -> None:
        """Kill it and everything it started."""
        import psutil  # noqa: PLC0415 - who only reads of a process needs none

        victims = self._ask(lambda process: [*process.children(recursive=True), process]) or []
        for victim in victims:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        _wait(victims, _KILL_SECONDS)

    def _ask(self, question: Callable[[psutil.Process], _T]) -> _T | None:
        """Return what the process answers, None where it has ended."""
        import psutil  # noqa: PLC0415 - who only reads of a process needs none

        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) < _SAME_SECONDS
            return question(process) if same and not _has_ended(process) else None
        except psutil.Error:
            return None


def _wait(processes: list[psutil.Process], seconds: float) -> bool:
    """Wait until all have ended; psutil's own wait is for their parents to collect them, which may be seconds later."""
    deadline = time.monotonic() + seconds
    while not all(_has_ended(process) for process in processes):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _has_ended(process: psutil.Process) -> bool:
    import psutil  # noqa: PLC0415 - who only reads of a process needs none

    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
