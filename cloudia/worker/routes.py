"""The routes that the settings name: which provider, with its key, its URL and its model, and what to fall back to."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import httpx2

from cloudia.errors import UsageError
from cloudia.providers import PROVIDERS, SIMULATED
from cloudia.worker.breaker import Limits
from cloudia.worker.llm import Llm, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.cloud.parameters import Parameters
    from cloudia.providers import ProviderSpec
    from cloudia.settings import Settings
    from cloudia.stack import Stack
    from cloudia.worker.providers.base import Provider

__all__ = ["make_llm", "make_provider"]


def make_llm(settings: Settings, parameters: Parameters, stack: Stack) -> Llm:
    """Return the configured LLM. Blocks; `UsageError` where a key is missing."""
    limits = Limits(settings.llm_breaker_errors, settings.llm_breaker_window_seconds, settings.llm_breaker_open_seconds)
    wanted = [(settings.llm_provider, settings.llm_model)]
    if settings.llm_fallback_provider:
        wanted.append((settings.llm_fallback_provider, settings.llm_fallback_model))
    routes = []
    for name, model in wanted:
        spec, account = PROVIDERS[name], settings.accounts[name]
        key = account.api_key or parameters.get(stack.api_keys[name]) or ""
        provider = make_provider(spec, api_key=key, base_url=account.base_url, timeout=_timeout(settings))
        routes.append(Route(provider, model or spec.default_model, limits))
    return Llm(routes, settings)


def make_provider(spec: ProviderSpec, *, api_key: str, base_url: str, timeout: httpx2.Timeout) -> Provider:
    """Return the adapter of a provider. `UsageError` where it has no key and needs one."""
    if spec.needs_key and not api_key:
        raise UsageError(
            f"there is no API key of {spec.name}",
            hint=f"Set {spec.key_variable}, or use --llm {SIMULATED}.",
            code="no_api_key",
        )
    module, _, name = spec.adapter.partition(":")
    adapter: Callable[..., Provider] = getattr(importlib.import_module(module), name)  # up to 1 s of import
    return adapter(api_key=api_key, base_url=base_url, timeout=timeout)


def _timeout(settings: Settings) -> httpx2.Timeout:
    """Return the connection's own deadlines; those of a call are tighter where it matters."""
    slowest = max(settings.llm_first_token_seconds, settings.llm_gap_seconds) + 5
    return httpx2.Timeout(slowest, connect=settings.llm_connect_seconds)
