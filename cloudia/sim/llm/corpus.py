"""The cases that come with cloudia, each from a report of what a server did, and those in files of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["corpus", "find_case"]

_FOLDER = Path(__file__).parent / "cases"
_MAX_BYTES = 7 * 1024 * 1024  # of a file; the control endpoint takes a little more


def corpus() -> Iterator[dict[str, Any]]:
    """Yield the cases that come with cloudia, by name."""
    for path in sorted(_FOLDER.glob("*.json")):
        yield _read(path)


def find_case(name: str) -> dict[str, Any]:
    """Return the case of a name, or of a file. `UsageError` where there is none."""
    ours = {path.stem: path for path in _FOLDER.glob("*.json")}
    return _read(ours.get(name) or Path(name))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        document = json.loads(raw)
    except OSError as error:
        hint = "`cloudia chaos llm case --list` has the names; anything else is a file."
        raise UsageError(f"there is no case {str(path)!r}: {error.strerror}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no case: it is not JSON, or larger than 7 MB") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path} is no case: it is not a JSON object")
    return document
