"""The source files of a module of the project's, and which of them changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SourceFiles"]


class SourceFiles:
    """The file of the module `name` in a folder, or all files of its package."""

    def __init__(self, folder: Path, name: str) -> None:
        self._top = folder / name.split(".", maxsplit=1)[0]
        self._seen = self._look()

    def changed(self) -> str | None:
        """Return the name of a file that was changed, added or removed since the last call, None where none was."""
        now = self._look()
        differing = sorted({path for path, _ in self._seen.items() ^ now.items()})
        self._seen = now
        return differing[0].name if differing else None

    def _look(self) -> dict[Path, int]:
        files = [self._top.with_suffix(".py"), *(self._top.rglob("*.py") if self._top.is_dir() else ())]
        found = {}
        for path in files:
            try:
                found[path] = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
        return found
