"""What the command line prints: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from cloudia.errors import CloudiaError

__all__ = ["STATE", "console", "note", "print_error", "print_json", "stderr_console"]


@dataclass(slots=True)
class _State:
    """The options of the command itself, before its verb."""

    quiet: bool = False
    debug: bool = False
    json: bool = False
    """Set by the verb; errors are printed as JSON from then on."""


STATE = _State()


def console() -> Console:
    """Return the console of stdout: plain text where that is not a terminal."""
    from rich.console import Console  # noqa: PLC0415 - not every verb draws

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def stderr_console() -> Console:
    """Return the console of stderr."""
    from rich.console import Console  # noqa: PLC0415 - not every verb draws

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_json(document: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None), flush=True)  # noqa: T201


def note(text: str) -> None:
    """Tell a person something that is not data."""
    if not STATE.quiet:
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def print_error(error: CloudiaError) -> None:
    """Print an error: one sentence and a hint, or one JSON object."""
    if STATE.json:
        print(json.dumps(error.to_json(), ensure_ascii=False), file=sys.stderr, flush=True)  # noqa: T201
        return
    out = stderr_console()
    out.print("[bold red]error:[/] ", end="")
    out.print(error.message, markup=False)
    if error.hint:
        out.print("[bold]hint:[/] ", end="")
        out.print(error.hint, markup=False)
