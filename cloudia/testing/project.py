"""A project whose settings and code are used, and whose folder is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.local.project import Project

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BorrowedProject"]


@dataclass(frozen=True, slots=True)
class BorrowedProject(Project):
    """A project that keeps its state, its logs and its secrets in `home`, so that a stack that runs in it is not touched."""

    home: Path

    @property
    def _kept(self) -> Path:
        return self.home / ".cloudia"
