"""A progress bar on stderr, in a terminal only."""

from __future__ import annotations

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
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(counts),
            TimeElapsedColumn(),
            console=stderr_console(),
            disable=STATE.quiet or STATE.json or not sys.stderr.isatty(),
            transient=True,
        )
        self._bar = self._bars.add_task(what, total=total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def advance(self, count: int = 1) -> None:
        """Count more."""
        self._bars.advance(self._bar, count)
