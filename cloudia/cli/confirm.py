"""The question before something that cannot be undone."""

from __future__ import annotations

import sys

import typer

from cloudia.errors import UsageError
from cloudia.visible import visible

__all__ = ["confirm"]


def confirm(question: str, *, yes: bool, does: str = "deletes data") -> None:
    """Ask, unless the user has said `yes`. `typer.Abort` where the answer is no; `UsageError` where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"this {does}, and nobody can be asked", hint="Say --yes.")
    typer.confirm(visible(question), abort=True)
