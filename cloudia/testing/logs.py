"""What the parts of a stack have logged since a test began, for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cloudia.local.tail import Tail, in_order

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Logs", "readable"]

_MOST_LINES = 30
_HEAD = frozenset({"time", "level", "part", "event", "exception"})


class Logs:
    """The logs in a folder, as `{part}.log`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails: dict[Path, Tail] = {}
        self._lines: list[tuple[str, str]] = []

    def mark(self) -> None:
        """Forget what was logged so far."""
        self._read()
        self._lines = []

    def text(self, *, most: int = _MOST_LINES) -> str:
        """Return the last lines since `mark`, in the order of their times."""
        self._read()
        lines = [readable(part, line) for part, line in in_order(self._lines)[-most:]]
        return "\n".join(lines) or f"nothing was logged; the logs are in {self._folder}"

    def _read(self) -> None:
        for path in sorted(self._folder.glob("*.log")):
            tail = self._tails.setdefault(path, Tail(path, lines=1_000_000))
            self._lines += [(path.stem, line) for line in tail.read()]


def readable(part: str, line: str) -> str:
    """Return a log line as `12:00:01.234 worker  job ended  status=done`; one that is not JSON as it is."""
    try:
        entry = json.loads(line)
        event = entry["event"]
    except (ValueError, TypeError, LookupError):
        return f"{'':12} {part:<9} {line}"
    shown = [f"{name}={value}" for name, value in entry.items() if name not in _HEAD and value is not None]
    text = f"{str(entry.get('time', ''))[11:23]:12} {part:<9} {'  '.join([str(event), *shown])}"
    return f"{text}\n{entry['exception']}" if entry.get("exception") else text
