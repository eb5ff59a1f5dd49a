"""Log lines: for people, JSON made readable; for programs, anything else made JSON. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Kind", "bears", "plain", "segments", "to_json"]

Kind: TypeAlias = Literal["time", "part", "event", "name", "value", "line", "exception"]
"""What a piece of a readable line is, for whoever colours it."""

_HEAD = frozenset({"time", "level", "part", "event", "exception"})


def segments(line: str, part: str) -> tuple[str, list[tuple[str, Kind]]]:
    """Return the level of a log line, empty where it says none, and its pieces for people.

    Together they are `12:00:01.234 worker  job ended  status=done`, and on further lines its exception. A line that is not
    JSON is shown as it is.
    """
    entry = _parse(line)
    if entry is None:
        return "", [(f"{'':12} {part:<9} ", "part"), (line, "line")]
    return str(entry.get("level", "")), list(_pieces(entry, part))


def _pieces(entry: dict[str, object], part: str) -> Iterator[tuple[str, Kind]]:
    yield f"{str(entry.get('time', ''))[11:23]:12} ", "time"
    yield f"{part:<9} ", "part"
    yield str(entry["event"]), "event"
    for name, value in entry.items():
        if name not in _HEAD:
            yield f"  {name}=", "name"
            yield json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value), "value"
    if entry.get("exception"):
        yield f"\n{entry['exception']}", "exception"


def plain(line: str, part: str) -> str:
    """Return a log line for people, without colours."""
    return "".join(text for text, _ in segments(line, part)[1])


def to_json(line: str, part: str) -> dict[str, object]:
    """Return a log line as `{"part", "time", "level", "event", ...}`; one that is not of that form as `{"part", "line"}`."""
    entry = _parse(line) or {"line": line}
    return {"part": part, **{name: value for name, value in entry.items() if name != "part"}}


def bears(line: str, wanted: Mapping[str, str]) -> bool:
    """Tell whether a log line has all of these fields, such as `job_id`; where none is wanted every line does."""
    if not wanted:
        return True
    entry = _parse(line) if all(value in line for value in wanted.values()) else None
    return entry is not None and all(entry.get(name) == value for name, value in wanted.items())


def _parse(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "event" in entry else None
