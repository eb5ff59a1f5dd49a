"""Log lines in colour."""

from __future__ import annotations

from zlib import crc32

from rich.text import Text

from cloudia.local.log_lines import segments
from cloudia.sim.spec import kind_of

__all__ = ["render"]

_COLOURS = ("cyan", "magenta", "blue", "green", "yellow", "bright_cyan", "bright_magenta")
_LEVELS = {"warning": "yellow", "error": "bold red", "debug": "dim"}
_STYLES = {"time": "dim", "name": "dim", "exception": "red"}


def render(line: str, part: str) -> Text:
    """Return a log line for people, coloured by part and level."""
    level, pieces = segments(line, part)
    colour = _COLOURS[crc32(kind_of(part).encode()) % len(_COLOURS)]
    styles = {**_STYLES, "part": colour, "event": _LEVELS.get(level, "")}
    return Text.assemble(*((text, styles.get(kind, "")) for text, kind in pieces))
