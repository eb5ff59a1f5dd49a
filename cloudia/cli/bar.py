"""A progress bar on stderr, in a terminal only."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from cloudia.cli.output import STATE, stderr_console

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Bar"]


class Bar:
    """Counts what was done. Nothing is drawn under --quiet, under --json, or where stderr is no terminal."""

    def __init__(self, what: str, total: int | None) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - lazy

        counts = "{task.completed}" if total is None else "{task.completed}/{task.total}"
        self.done = self.failed = 0
        self._draws = not (STATE.quiet or STATE.json) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"{counts}{{task.fields[failed]}}"),
            TimeElapsedColumn(),
            console=stderr_console(),
            disable=not self._draws,
            redirect_stdout=False,  # Data is for stdout, not for the bar's console.
            transient=True,
        )
        self._bar = self._bars.add_task(what, total=total, failed="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def advance(self, count: int = 1, *, failed: int = 0) -> None:
        """Count more, and what of it failed."""
        self.done += count
        self.failed += failed
        self._bars.update(self._bar, completed=self.done, failed=f" · {self.failed} failed" if self.failed else "")

    def show(self, what: str, *, done: int = 0) -> None:
        """Say what is being done now, and how much of it is."""
        self.done = done
        self._bars.update(self._bar, description=what, completed=done)

    def print(self, line: str) -> None:
        """Print a line of data to stdout; where that is the bar's terminal, the bar steps aside."""
        in_the_way = self._draws and sys.stdout.isatty()
        if in_the_way:
            self._bars.stop()
        print(line, flush=True)  # noqa: T201 - the data
        if in_the_way:
            self._bars.start()
