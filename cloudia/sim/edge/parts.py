"""The parts of the stack that runs here, read from its run file for the dashboard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_parts"]

_MOST_BYTES = 1_000_000
_SHOWN = ("state", "pid", "restarts", "detail", "reason")


def read_parts(run_file: Path) -> list[dict[str, Any]]:
    """Return `{"name", "state", "pid", "restarts", "detail", "reason"}` of each part; none where nobody can tell."""
    try:
        with run_file.open("rb") as file:
            parts = json.loads(file.read(_MOST_BYTES))["parts"]
        return [{"name": name, **{key: part.get(key) for key in _SHOWN}} for name, part in parts.items()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
