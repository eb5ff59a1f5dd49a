"""What is found of one thing that a stack can stand on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Check", "shown"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one thing. `optional` is not there and not needed; `missing` keeps `cloudia up` from starting."""

    name: str
    state: Literal["ok", "optional", "missing"]
    found: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the check as `cloudia doctor --json` prints it."""
        return asdict(self)


def shown(secret: str, kind: str) -> str:
    """Return a secret as it may be shown: no more than its end."""
    return f"a {kind} that ends in {secret[-4:]}" if len(secret) > 12 else f"a {kind}"  # noqa: PLR2004
