"""Whether the terminal that a command writes to has colours, as its entry in terminfo says."""

from __future__ import annotations

import os
import sys

__all__ = ["terminal_is_mono"]


def terminal_is_mono() -> bool:
    """Tell whether this is a terminal that is known to have no colours. One that nobody describes may have some."""
    stream = next((each for each in (sys.stdout, sys.stderr) if each is not None and each.isatty()), None)
    if stream is None or not os.environ.get("TERM"):
        return False
    try:
        import curses  # noqa: PLC0415 - not every Python has it, nor is every command in a terminal
    except ImportError:
        return False
    try:
        curses.setupterm(fd=stream.fileno())
    except curses.error:
        return False
    return curses.tigetnum("colors") <= 0
