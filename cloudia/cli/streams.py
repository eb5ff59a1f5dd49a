"""stdin, stdout and stderr, as every verb may count on them: open, and able to say every character."""

from __future__ import annotations

import io
import os
import sys

from cloudia.errors import UsageError

__all__ = ["prepare_streams", "require_terminal", "says_all"]

_STUMBLES = frozenset({"strict", "surrogateescape"})
"""How a stream meets a character that its encoding lacks: by an exception. The second is that of the locale C."""
_DRAWS_NOTHING = frozenset({"dumb", "unknown"})


def prepare_streams() -> None:
    """Open what was closed, and let no character be too much.

    A closed stdin is an empty one, and what goes to a closed stdout or stderr goes nowhere. Their descriptors are taken, or
    the next file that is opened would be one of them. What an encoding lacks is written as its escape.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            _open_nowhere(number)
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - until the process ends
        elif mode == "w" and isinstance(stream, io.TextIOWrapper) and stream.errors in _STUMBLES:
            stream.reconfigure(errors="backslashreplace")


def _open_nowhere(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
        os.set_inheritable(number, True)


def says_all() -> bool:
    """Tell whether stdout can say every character by itself."""
    return (sys.stdout.encoding or "utf-8").lower().replace("-", "").startswith("utf")


def require_terminal(hint: str) -> None:
    """Accept a terminal that can be drawn in. `UsageError` says what is missing, and `hint` what to do in a script."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("this needs a terminal", hint=hint)
    if os.environ.get("TERM", "") in _DRAWS_NOTHING:
        raise UsageError(f"this needs a terminal that can be drawn in, and TERM is {os.environ['TERM']}", hint=hint)
    if not says_all():
        raise UsageError(
            f"this needs a terminal of UTF-8, and its encoding here is {sys.stdout.encoding}",
            hint="Set LC_ALL to a locale of UTF-8, such as C.UTF-8, and leave PYTHONIOENCODING out.",
        )
