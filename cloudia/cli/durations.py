"""Durations as people write them: `500ms`, `30s`, `2m`, `1h`, `1d`."""

from __future__ import annotations

import re

from cloudia.errors import UsageError

__all__ = ["parse_seconds", "short_age"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "": 1.0}
_DURATION = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(_UNITS)})")


def parse_seconds(text: str) -> float:
    """Return the seconds of `500ms`, `30s`, `2m`, `1h`, `1d` or `30`. `UsageError` where it is none of these."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text!r} is no time", hint="Such as 500ms, 30s, 2m, 1h or 1d.")
    return float(found[1]) * _UNITS[found[2]]


def short_age(seconds: float) -> str:
    """Return `3d`, `2h`, `5m` or `40s`, the largest unit of which there is a whole one."""
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit]:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds:.0f}s"
