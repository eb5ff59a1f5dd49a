"""What `cloudia env` has put into a shell: of a stack that runs, or did, and no choice of the user's for another."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXPORTED", "mark", "without_exported"]

EXPORTED = "CLOUDIA_EXPORTED"
"""The variable that says which they are, each by a digest, so that one which the user has changed since counts again."""


def mark(variables: Mapping[str, str]) -> str:
    """Return what `EXPORTED` is beside these variables."""
    return " ".join(_digest(name, value) for name, value in sorted(variables.items()))


def without_exported(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are the user's own."""
    known = frozenset(variables.get(EXPORTED, "").split())
    return {name: value for name, value in variables.items() if not known or _digest(name, value) not in known}


def _digest(name: str, value: str) -> str:
    return sha256(f"{name}={value}".encode()).hexdigest()[:16]
