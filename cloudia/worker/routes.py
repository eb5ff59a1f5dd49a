"""The routes that the settings name: which provider, with its key, its URL and its model, and what to fall back to."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2

from cloudia.cloud.routes import named_routes
from cloudia.errors import UsageError
from cloudia.providers import PROVIDERS, SIMULATED, base_url
from cloudia.worker.breaker import Limits
from cloudia.worker.context import tokens
from cloudia.worker.llm import Llm, Route
from cloudia.worker.providers.reach import Reach
from cloudia.worker.providers.trust import trusting

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.cloud.parameters import Parameters
    from cloudia.providers import ProviderSpec
    from cloudia.settings import Settings
    from cloudia.stack import Stack
    from cloudia.worker.providers.base import Provider

__all__ = ["make_llm", "make_provider", "room"]


def make_llm(settings: Settings, parameters: Parameters, stack: Stack) -> Llm:
    """Return the configured LLM. Blocks; `UsageError` where a key is missing, or a setting is not what it should be."""
    limits = Limits(
        settings.llm_breaker_errors,
        settings.llm_breaker_window_seconds,
        settings.llm_breaker_open_seconds,
        settings.llm_breaker_share,
    )
    verify = trusting(settings.llm_ca_bundle)
    routes: list[Route] = []
    for name, model in named_routes(settings):
        spec, account = PROVIDERS[name], settings.accounts[name]
        key = _key(account.api_key or parameters.get(stack.api_keys[name]) or "", spec)
        # What one API takes as a field or a header may be an error to another.
        extra = _extra(settings) if name == settings.llm_provider else {}
        url = base_url(spec, account.base_url, region=settings.aws_region)
        if spec.signs and not key and settings.aws_access_key_id:  # Those of the engine are nothing to AWS.
            raise _no_key(spec)
        region = settings.aws_region if spec.signs else ""
        if settings.llm_api == "responses" and name == settings.llm_provider:
            spec = _of_responses(spec)
        provider = make_provider(
            spec, api_key=key, url=url, timeout=_timeout(settings), region=region, verify=verify, **extra
        )
        routes.append(Route(provider, _model(spec, model), limits, url=account.base_url))
    return Llm(routes, settings)


def room(settings: Settings) -> int:
    """Return how many tokens of a conversation each of the routes has room for, beside its system prompt and its answer."""
    if settings.limits_context_tokens:
        return settings.limits_context_tokens
    window = min(
        PROVIDERS[name].window(model or PROVIDERS[name].default_model) for name, model in named_routes(settings)
    )
    # A model that takes less than its answer may have is left some of it: it refuses what is too much, and says so.
    return max(window - settings.llm_max_tokens - tokens(settings.llm_system_prompt), window // 2)


def _of_responses(spec: ProviderSpec) -> ProviderSpec:
    """Return a provider's entry with the adapter for its Responses API. `UsageError` where it has none."""
    if not spec.responses_adapter:
        raise UsageError(f"{spec.name} has no Responses API", hint="Set llm.api to chat.")
    return replace(spec, adapter=spec.responses_adapter)


def _model(spec: ProviderSpec, model: str) -> str:
    """Return the model of a route. `UsageError` where the settings name none and the provider has no default."""
    if not (model or spec.default_model):
        raise UsageError(f"there is no model of {spec.name}", hint="Set llm.model, or the model of the fallback.")
    return model or spec.default_model


def _key(text: str, spec: ProviderSpec) -> str:
    """Return a key without the line end that a file leaves behind it. `UsageError` where it is nothing that a header holds."""
    key = text.strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            f"the API key of {spec.name} holds a line end or another character that no key has",
            hint=f"Look at {spec.key_variable}, {spec.name}.api_key or the parameter in SSM: copy the key anew.",
        )
    return key


def _extra(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return what is added to each request, where something is. `UsageError` names the setting that is no such object."""
    texts = {
        "extra_body": settings.llm_extra_body,
        "extra_headers": settings.llm_extra_headers,
        "extra_query": settings.llm_extra_query,
    }
    extra = {}
    for name, text in texts.items():
        if not text:
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        texts_only = name != "extra_body"
        if not isinstance(value, dict) or (texts_only and not all(isinstance(each, str) for each in value.values())):
            what = "a JSON object of texts" if texts_only else "a JSON object"
            raise UsageError(f"llm.{name} is not {what}", hint='Write it as {"name": "value"}.')
        extra[name] = value
    return extra


def make_provider(
    spec: ProviderSpec,
    *,
    api_key: str,
    url: str,
    timeout: httpx2.Timeout,
    region: str = "",
    **extra: Any,
) -> Provider:
    """Return the adapter of a provider, `extra` in its requests. `UsageError` where it has no key and needs one."""
    if spec.needs_key and not api_key:
        raise _no_key(spec)
    module, _, name = spec.adapter.partition(":")
    adapter: Callable[[Reach], Provider] = getattr(importlib.import_module(module), name)  # up to 1 s of import
    key_setting = f"{spec.name}.api_key ({spec.key_variable})"
    reach = Reach(
        name=spec.name,
        url=url,
        api_key=api_key,
        key_setting=key_setting,
        timeout=timeout,
        region=region,
        **extra,
    )
    return adapter(reach)


def _no_key(spec: ProviderSpec) -> UsageError:
    return UsageError(
        f"there is no API key of {spec.name}",
        hint=f"Set {spec.key_variable}, or use --llm {SIMULATED}.",
        code="no_api_key",
    )


def _timeout(settings: Settings) -> httpx2.Timeout:
    """Return the connection's own deadlines; those of a call are tighter where it matters."""
    slowest = max(settings.llm_first_token_seconds, settings.llm_gap_seconds) + 5
    return httpx2.Timeout(slowest, connect=settings.llm_connect_seconds)
