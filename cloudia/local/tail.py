"""The end of a log file, and what is added to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cloudia.local.log_lines import time_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Tail", "in_order"]


class Tail:
    """Reads a file's last `lines`, then what comes; a file that was replaced or emptied is read from its beginning."""

    def __init__(self, path: Path, *, lines: int) -> None:
        self._path = path
        self._lines: int | None = lines
        self._position = 0
        self._inode = 0

    def read(self) -> list[str]:
        """Return the whole lines that were added since the last call."""
        try:
            with self._path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if facts.st_ino != self._inode or facts.st_size < self._position:
                    self._inode, self._position = facts.st_ino, 0
                file.seek(self._position)
                raw = file.read()
        except FileNotFoundError:
            return []
        whole = raw[: raw.rfind(b"\n") + 1]
        self._position += len(whole)
        found = whole.decode(errors="replace").split("\n")[:-1]
        if self._lines is not None:
            found, self._lines = found[len(found) - min(self._lines, len(found)) :], None
        return found


def in_order(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return `(part, line)` of several parts in the order of their times.

    A line without a time, such as one of a traceback, stays behind the line of its part before it.
    """
    timed = []
    last: dict[str, str] = {}
    for part, line in lines:
        last[part] = time_of(line) or last.get(part, "")
        timed.append((last[part], part, line))
    return [(part, line) for _, part, line in sorted(timed, key=lambda entry: entry[0])]
