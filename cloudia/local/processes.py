"""Processes of other runs: known by id and start time, so that a recycled id is never mistaken for ours."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Process"]

_SAME_SECONDS = 5.0
_LOOK_SECONDS = 0.01
_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it was when it was noted."""

    pid: int
    started_at: float
    """Epoch seconds, as the system says."""

    @classmethod
    def own(cls) -> Self:
        """Return this process."""
        process = psutil.Process()
        return cls(process.pid, process.create_time())

    def to_json(self) -> dict[str, Any]:
        """Return `{"pid", "started_at"}`."""
        return asdict(self)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process() is not None

    def resident_bytes(self) -> int | None:
        """Return the memory it holds, None where it has ended."""
        process = self._process()
        try:
            return None if process is None else int(process.memory_info().rss)
        except psutil.Error:
            return None

    def status(self) -> str | None:
        """Return its state as psutil calls it, None where it has ended."""
        process = self._process()
        try:
            return None if process is None else str(process.status())
        except psutil.Error:
            return None

    def send(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        process = self._process()
        if process:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, at most `seconds`. Return whether it has."""
        process = self._process()
        return process is None or _wait([process], seconds)

    def kill_tree(self) -> None:
        """Kill it and everything it started."""
        process = self._process()
        if process is None:
            return
        with contextlib.suppress(psutil.Error):
            victims = [*process.children(recursive=True), process]
            for victim in victims:
                with contextlib.suppress(psutil.Error):
                    victim.kill()
            _wait(victims, _KILL_SECONDS)

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) < _SAME_SECONDS
            return process if same and not _has_ended(process) else None
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
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
