"""What a part of a local stack is: how it is started, and how it is asked whether it is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["PartSpec"]


@dataclass(frozen=True, slots=True)
class PartSpec:
    """What a part is: how to start it, and how to ask whether it is ready."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    ready: Callable[[int], Awaitable[bool]]
    """Asks the part, given its process id; False or any error is "not yet", but a `PartError` is "never"."""
    detail: str = ""
    """One line for the user: a version, a URL."""
    grace_seconds: float = 5.0
    """Time between SIGTERM and SIGKILL."""
    ready_seconds: float = 30.0
    """Time from its start until it must be ready."""
