"""What provisioning does to one resource."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["Change"]

Action: TypeAlias = Literal["created", "updated", "unchanged", "deleted", "absent"]


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to one resource; `drift` names what was not as defined."""

    kind: Literal["queue", "table", "parameter", "function", "api", "log_group"]
    name: str
    action: Action
    drift: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the change as `cloudia provision --json` prints it."""
        return asdict(self)
