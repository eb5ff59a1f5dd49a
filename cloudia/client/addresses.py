"""The address of a service: one that stays, or one that is looked up each time, because a stack may come back elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Address", "url_of"]

Address: TypeAlias = str | Callable[[], str]
"""A URL, or a function that returns the one that is good now. It is asked in the event loop, so it waits for nothing."""


def url_of(address: Address) -> str:
    """Return the URL that is good now."""
    return address if isinstance(address, str) else address()
