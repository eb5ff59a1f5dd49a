"""What can be set while the provider runs: its pace and the seed of its answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from cloudia.sim.llm import fields

__all__ = ["MAX_SECONDS", "MAX_TPS", "Settings", "changed"]

MAX_SECONDS = 3_600.0
MAX_TPS = 1_000_000.0


@dataclass(frozen=True, slots=True)
class Settings:
    """`ttft`: seconds to the first token; `tps`: tokens per second, 0 for no pacing; `seed`: of answers and faults."""

    ttft: float = 0.15
    tps: float = 60.0
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)


def changed(settings: Settings, data: dict[str, Any]) -> Settings:
    """Return `settings` with what `data` names changed. Raises FieldError."""
    fields.known(data, settings.to_json())
    ttft = fields.number(data, "ttft", most=MAX_SECONDS)
    tps = fields.number(data, "tps", most=MAX_TPS)
    seed = fields.integer(data, "seed")
    return replace(
        settings,
        ttft=settings.ttft if ttft is None else ttft,
        tps=settings.tps if tps is None else tps,
        seed=settings.seed if seed is None else seed,
    )
