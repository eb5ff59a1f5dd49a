"""The breakers, as `GET /health` tells them to who bears a token: each worker has its own. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["worst_breakers"]

_ORDER = ("closed", "half-open", "open")


def worst_breakers(health: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return, for each provider and model, the route of the worker to which its breaker is least closed.

    In the order in which a worker tries them: the LLM that is meant comes first, what it falls back to after it.
    """
    worst: dict[tuple[str, str], Mapping[str, Any]] = {}
    for route in (route for worker in (health or {}).get("workers", ()) for route in worker.get("routes", ())):
        seen = worst.setdefault((route["provider"], route["model"]), route)
        if _ORDER.index(route["breaker"]) > _ORDER.index(seen["breaker"]):
            worst[route["provider"], route["model"]] = route
    return list(worst.values())
