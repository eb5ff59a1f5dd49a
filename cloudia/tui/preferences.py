"""What the terminal clients remember between two runs: the theme."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from platformdirs import user_config_path

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Preferences"]


class Preferences:
    """A small JSON file in the user's configuration folder. One that cannot be read or written is not missed."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or user_config_path("cloudia") / "tui.json"

    def theme(self) -> str | None:
        """Return the name of the theme that was chosen last."""
        try:
            value = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return None
        theme = value.get("theme") if isinstance(value, dict) else None
        return theme if isinstance(theme, str) else None

    def keep_theme(self, theme: str) -> None:
        """Remember a theme."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps({"theme": theme}) + "\n")
        except OSError:
            pass  # It is a taste, not data.
