"""The LLMs that the settings name, in the order in which they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudia.errors import UsageError
from cloudia.providers import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudia.settings import Settings

__all__ = ["named_routes"]


def named_routes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield provider and model of each route, in the order in which they are asked. `UsageError` names what is no provider."""
    yield settings.llm_provider, settings.llm_model
    one = f"{settings.llm_fallback_provider}:{settings.llm_fallback_model}" if settings.llm_fallback_provider else ""
    for entry in filter(None, map(str.strip, (settings.llm_fallback or one).split(","))):
        name, _, model = entry.partition(":")
        if name not in PROVIDERS:
            raise UsageError(
                f"llm.fallback names {name!r}, which is no provider",
                hint=f"Write it as provider:model; providers are {', '.join(PROVIDERS)}.",
            )
        yield name, model
