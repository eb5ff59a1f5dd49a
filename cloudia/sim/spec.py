"""What a part of a local stack is: its kind and name, how it is started, and how it is asked whether it is ready."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from cloudia.passwords import without_secrets
from cloudia.providers import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["PartKind", "PartSpec", "environment_of_others", "kind_of", "python_module"]

PartKind: TypeAlias = Literal["engine", "redis", "llm", "api", "gateway", "worker", "collector"]

_OF_THE_USER = (
    *("CLOUDIA_", "AWS_", "REDIS_URL"),
    *(f"{name.upper()}_" for name in PROVIDERS),
    *(name for spec in PROVIDERS.values() for name in (spec.key_variable, spec.base_url_variable) if name),
)
_NUMBER = re.compile(r"-\d+\Z")


@dataclass(frozen=True, slots=True)
class PartSpec:
    """What a part is: how to start it, and how to ask whether it is ready."""

    kind: PartKind
    command: list[str]
    environment: Mapping[str, str]
    ready: Callable[[int], Awaitable[bool]]
    """Asks the part, given its process id; False or any error is "not yet", but a `PartError` is "never"."""
    detail: str = ""
    """One line for the user: a version, a URL."""
    number: int | None = None
    """Which of several of its kind; None where there is one."""
    grace_seconds: float = 5.0
    """Time between SIGTERM and SIGKILL."""
    ready_seconds: float = 30.0
    """Time from its start until it must be ready."""

    @property
    def name(self) -> str:
        """`worker`, or `worker-2` where there are several; its log is called after it."""
        return self.kind if self.number is None else f"{self.kind}-{self.number}"


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command line of a module. With -P, no file of the project's folder hides a library."""
    return [sys.executable, "-P", "-m", module, *arguments]


def kind_of(name: str) -> str:
    """Return the kind in a part's name, for who has the name alone: that of a log file. Any other name is its own."""
    return _NUMBER.sub("", name)


def environment_of_others() -> dict[str, str]:
    """Return this process's environment for programs of others: no secret, nor what configures cloudia, AWS or a provider."""
    return {name: value for name, value in without_secrets(os.environ).items() if not name.startswith(_OF_THE_USER)}
