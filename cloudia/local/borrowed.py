"""A project whose settings and code are used, and whose folder is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudia.local.project import Project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["OWN_PARTS", "BorrowedProject"]

OWN_PARTS: Mapping[str, Any] = {
    "up_engine": "ministack",
    "aws_endpoint_url": "",
    "redis_url": "",
    "up_llm": "sim",
    "up_persist": False,
    "up_reload": False,
    "up_otel": "off",
    "api_port": 0,
    "gateway_port": 0,
    "auth_jwks_url": "",
}
"""What its stack has of its own, whatever the project says: none leaves the machine, costs money, or takes a port."""


@dataclass(frozen=True, slots=True)
class BorrowedProject(Project):
    """A project that keeps its state, its logs and its secrets in `home`, so that a stack that runs in it is not touched."""

    home: Path

    @property
    def _kept(self) -> Path:
        return self.home / ".cloudia"
