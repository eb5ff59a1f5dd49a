"""Log lines: for people, JSON made readable; for programs, anything else made JSON."""

from __future__ import annotations

import json
from zlib import crc32

from rich.text import Text

__all__ = ["render", "to_json"]

_COLOURS = ("cyan", "magenta", "blue", "green", "yellow", "bright_cyan", "bright_magenta")
_LEVELS = {"warning": "yellow", "error": "bold red", "debug": "dim"}
_HEAD = frozenset({"time", "level", "part", "event", "exception"})


def render(line: str, part: str) -> Text:
    """Return a log line as `12:00:01.234 worker  job ended  status=done`, coloured by part and level."""
    text = Text(no_wrap=False)
    colour = _COLOURS[crc32(part.split("-", maxsplit=1)[0].encode()) % len(_COLOURS)]
    entry = _parse(line)
    if entry is None:
        return text.append(f"{'':12} {part:<9} ", colour).append(line)
    text.append(f"{str(entry.get('time', ''))[11:23]:12} ", "dim").append(f"{part:<9} ", colour)
    text.append(str(entry["event"]), _LEVELS.get(str(entry.get("level")), ""))
    for name, value in entry.items():
        if name not in _HEAD:
            shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
            text.append(f"  {name}=", "dim").append(shown)
    if "exception" in entry:
        text.append("\n" + str(entry["exception"]), "red")
    return text


def to_json(line: str, part: str) -> dict[str, object]:
    """Return a log line as `{"part", "time", "level", "event", ...}`; one that is not of that form as `{"part", "line"}`."""
    entry = _parse(line) or {"line": line}
    return {"part": part, **{name: value for name, value in entry.items() if name != "part"}}


def _parse(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "event" in entry else None
