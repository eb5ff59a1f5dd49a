"""What the parts of a stack have logged since a test began, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudia.local.log_lines import plain
from cloudia.local.tail import Tail, in_order

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Logs"]

_MOST_LINES = 30


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
        lines = [plain(line, part) for part, line in in_order(self._lines)[-most:]]
        return "\n".join(lines) or f"nothing was logged; the logs are in {self._folder}"

    def _read(self) -> None:
        for path in sorted(self._folder.glob("*.log")):
            tail = self._tails.setdefault(path, Tail(path, lines=1_000_000))
            self._lines += [(path.stem, line) for line in tail.read()]
