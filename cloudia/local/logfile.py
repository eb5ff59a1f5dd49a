"""A part's log file, bounded: at 10 MB it becomes `{name}.log.1`, replacing the one before."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LogFile"]

_MOST_BYTES = 10 * 1024 * 1024


class LogFile:
    """Lines appended to a file. Where there is no room, lines are lost; whoever writes them goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rotate()

    def write(self, line: str) -> None:
        """Append a line; it can be read at once."""
        raw = f"{line}\n".encode(errors="replace")
        with contextlib.suppress(OSError):
            self._file.write(raw)
        self._size += len(raw)
        if self._size > _MOST_BYTES:
            self.close()
            self._rotate()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rotate(self) -> None:
        if self.path.exists():
            self.path.replace(self.path.with_name(self.path.name + ".1"))
        self._file = self.path.open("wb", buffering=0)
        self._size = 0
