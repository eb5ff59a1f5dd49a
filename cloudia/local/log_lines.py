"""Log lines, each with its time: for people, JSON made readable; for programs, anything else made JSON. No I/O."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Kind", "bears", "plain", "segments", "stamped", "time_of", "to_json"]

Kind: TypeAlias = Literal["time", "part", "event", "name", "value", "line", "exception"]
"""What a piece of a readable line is, for whoever colours it."""

_TIME = re.compile(r"(?P<own>\{\"time\":\")?(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)(?(own)\"| )")
"""How a line of ours begins, and one of others that was given a time."""
_HEAD = frozenset({"time", "level", "part", "event", "exception"})


def stamped(line: str, at: str) -> str:
    """Return a line as a log keeps it: one that tells no time of its own, in our form, gets the one `at` which it came."""
    return line if time_of(line) else f"{at} {line}"


def time_of(line: str) -> str:
    """Return the time of a line of a log, empty where it has none."""
    found = _TIME.match(line)
    return found["time"] if found else ""


def segments(line: str, part: str) -> tuple[str, list[tuple[str, Kind]]]:
    """Return the level of a log line, empty where it says none, and its pieces for people.

    Together they are `12:00:01.234 worker  job ended  status=done`, and on further lines its exception. A line that is not
    JSON is shown as it is.
    """
    entry = _parse(line)
    if entry is None:
        time, text = _split(line)
        return "", [(f"{time[11:23]:12} ", "time"), (f"{part:<9} ", "part"), (text, "line")]
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
    """Return a log line as `{"part", "time", "level", "event", ...}`; another's as `{"part", "time", "line"}`."""
    entry = _parse(line)
    if entry is None:
        time, text = _split(line)
        entry = {**({"time": time} if time else {}), "line": text}
    return {"part": part, **{name: value for name, value in entry.items() if name != "part"}}


def bears(line: str, wanted: Mapping[str, str]) -> bool:
    """Tell whether a log line has all of these fields, such as `job_id`; where none is wanted every line does."""
    if not wanted:
        return True
    entry = _parse(line) if all(value in line for value in wanted.values()) else None
    return entry is not None and all(entry.get(name) == value for name, value in wanted.items())


def _split(line: str) -> tuple[str, str]:
    """Return the time that was given to a line of others, and what it said."""
    time = "" if line.startswith("{") else time_of(line)
    return time, line[len(time) + 1 :] if time else line


def _parse(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "event" in entry else None
