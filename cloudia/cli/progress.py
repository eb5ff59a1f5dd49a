"""A progress bar: one line on stderr, drawn anew; only in a terminal, and out of the way of what goes to stdout."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from cloudia.cli.output import STATE

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Progress"]

_WIDTH = 30
_CLEAR = "\r\x1b[2K"


class Progress:
    """Counts what is done of `total`, and what of it failed. Use as `with Progress(total) as progress`."""

    def __init__(self, total: int) -> None:
        self.done = self.failed = 0
        self._total = total
        self._draws = not STATE.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._write(_CLEAR)

    def advance(self, line: str, *, failed: bool) -> None:
        """Count one more, and print its line to stdout."""
        self._write(_CLEAR)
        print(line, flush=True)  # noqa: T201 - the data
        self.done += 1
        self.failed += failed
        self._draw()

    def _draw(self) -> None:
        full = _WIDTH * self.done // self._total
        failed = f" · {self.failed} failed" if self.failed else ""
        self._write(f"{'━' * full}{'─' * (_WIDTH - full)} {self.done}/{self._total}{failed}")

    def _write(self, text: str) -> None:
        if self._draws:
            sys.stderr.write(text)
            sys.stderr.flush()
