"""Processes of other runs: known by id and birth, so that a recycled id is never mistaken for ours, whatever the clock does."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    import psutil

__all__ = ["Process", "birth_of"]

_SAME_SECONDS = 5.0
_LOOK_SECONDS = 0.01
_KILL_SECONDS = 5.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it was when it was noted."""

    pid: int
    started_at: float
    """Epoch seconds, by the clock of that moment."""
    birth: str = ""
    """What `birth_of` it says; where that is empty, `started_at` has to do."""

    @classmethod
    def own(cls) -> Self:
        """Return this process."""
        import psutil  # noqa: PLC0415 - who only reads of a process needs none

        process = psutil.Process()
        return cls(process.pid, process.create_time(), birth_of(process.pid))

    def to_json(self) -> dict[str, Any]:
        """Return `{"pid", "started_at", "birth"}`."""
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
            if self.birth:
                same = birth_of(self.pid) == self.birth
            else:
                same = abs(process.create_time() - self.started_at) < _SAME_SECONDS
            return question(process) if same and not _has_ended(process) else None
        except psutil.Error:
            return None


def birth_of(pid: int) -> str:
    """Return what no other process shares that has, had or will have this id: system's start, namespace of ids, own start.

    Linux counts the last in ticks since the first, so no step of the clock moves it: proc(5), `starttime`. Empty elsewhere,
    where the start is noted by the clock of that moment, and for a process that is gone.
    """
    try:
        born = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return ""
    return f"{boot}/{namespace}/{born}"


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
