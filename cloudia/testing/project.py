"""A project whose settings and code are used, and whose folder is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudia.local.project import Project

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BorrowedProject"]


@dataclass(frozen=True, slots=True)
class BorrowedProject(Project):
    """A project that keeps its state, its logs and its secrets in `home`, so that a stack that runs in it is not touched."""

    home: Path

    @property
    def state(self) -> Path:
        """`.cloudia`, in `home`."""
        return self._kept.state

    def read_run(self) -> dict[str, Any] | None:
        """Return what `run.json` says, None where there is none."""
        return self._kept.read_run()

    def remove_run(self) -> None:
        """Remove `run.json`."""
        self._kept.remove_run()

    @property
    def _kept(self) -> Project:
        return Project(self.home)
