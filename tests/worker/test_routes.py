"""The routes that the settings name: adapters from the registry, with their keys, URLs, models and deadlines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from cloudia.errors import UsageError
from cloudia.providers import PROVIDERS, ProviderSpec
from cloudia.settings import Settings
from cloudia.stack import Parameter, Stack
from cloudia.worker.providers.base import Provider
from cloudia.worker.providers.reach import Reach
from cloudia.worker.routes import make_llm, make_provider

TIMEOUT = httpx2.Timeout(5)
SPECS = pytest.mark.parametrize("spec", PROVIDERS.values(), ids=lambda spec: spec.name)


class Known:
    """Parameters that hold what the test says."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.asked: list[str] = []

    def get(self, parameter: Parameter) -> str | None:
        self.asked.append(parameter.name)
        return self.values.get(parameter.name.rsplit("/", 1)[1].replace("-", "_"))


class Adapter:
    """An adapter that keeps what it was made with."""

    name = "kept"

    def __init__(self, reach: Reach) -> None:
        self.reach = reach


def spec_of(**changes: Any) -> ProviderSpec:
    return replace(PROVIDERS["openai"], adapter=f"{__name__}:Adapter", **changes)


def made(provider: Provider) -> Reach:
    """Return what an `Adapter` was made with; it was loaded by its name, so its class is another one here."""
    found: Reach = provider.reach  # type: ignore[attr-defined]
    return found


def reachable(spec: ProviderSpec) -> Settings:
    """Return settings of a provider that lack a key alone."""
    settings = Settings().changed(llm_provider=spec.name, llm_model="" if spec.default_model else "m")
    return settings if spec.vendor_url else settings.changed(**{f"{spec.name}_base_url": "http://127.0.0.1:9"})


@SPECS
async def test_each_provider_has_a_route(spec: ProviderSpec) -> None:
    """A provider's own adapter and its default model, unless another model is named."""
    settings = reachable(spec).changed(**{f"{spec.name}_api_key": "key"})
    models = (("", spec.default_model), ("another", "another"))
    for model, expected in models if spec.default_model else models[1:]:
        llm = make_llm(settings.changed(llm_model=model), Known(), Stack())  # type: ignore[arg-type]
        (route,) = llm.routes
        assert (route.provider.name, route.model) == (spec.name, expected)
        await llm.aclose()


async def test_the_fallback_is_the_second_route() -> None:
    """The provider that is meant first, then the one to fall back to, each with its own account and model."""
    settings = Settings().changed(
        openai_api_key="a", anthropic_api_key="b", llm_fallback_provider="anthropic", llm_fallback_model="second"
    )
    llm = make_llm(settings, Known(), Stack())  # type: ignore[arg-type]
    assert [(route.provider.name, route.model) for route in llm.routes] == [
        ("openai", PROVIDERS["openai"].default_model),
        ("anthropic", "second"),
    ]
    await llm.aclose()


async def test_the_responses_api_is_asked_for() -> None:
    """Of the provider that is meant, where it has one; fallbacks keep their own API."""
    settings = Settings().changed(
        openai_api_key="a", anthropic_api_key="b", llm_api="responses", llm_fallback="ollama:m", llm_model="m"
    )
    llm = make_llm(settings, Known(), Stack())  # type: ignore[arg-type]
    assert [type(route.provider).__name__ for route in llm.routes] == ["ResponsesProvider", "OpenAIProvider"]
    await llm.aclose()
    with pytest.raises(UsageError, match="anthropic has no Responses API"):
        make_llm(settings.changed(llm_provider="anthropic"), Known(), Stack())  # type: ignore[arg-type]


async def test_a_fallback_may_have_several_routes() -> None:
    """In their order, each with its model or its provider's default; a colon may be in a model's name."""
    settings = Settings().changed(
        openai_api_key="a", anthropic_api_key="b", llm_fallback="anthropic, ollama:qwen3:8b,openai:other"
    )
    llm = make_llm(settings, Known(), Stack())  # type: ignore[arg-type]
    assert [(route.provider.name, route.model) for route in llm.routes[1:]] == [
        ("anthropic", PROVIDERS["anthropic"].default_model),
        ("ollama", "qwen3:8b"),
        ("openai", "other"),
    ]
    await llm.aclose()
    with pytest.raises(UsageError, match="'acme', which is no provider"):
        make_llm(settings.changed(llm_fallback="anthropic,acme:x"), Known(), Stack())  # type: ignore[arg-type]


@SPECS
async def test_a_key_that_is_no_setting_is_in_ssm(spec: ProviderSpec) -> None:
    """SSM is asked for the provider's own parameter, and only where the settings have no key; with neither it is refused."""
    settings = reachable(spec)
    stored = Known(**{f"{spec.name}_api_key": "key"})
    await make_llm(settings, stored, Stack("chat")).aclose()  # type: ignore[arg-type]
    assert stored.asked == [f"/chat/{spec.name}-api-key"]
    given = settings.changed(**{f"{spec.name}_api_key": "key"})
    unasked = Known()
    await make_llm(given, unasked, Stack()).aclose()  # type: ignore[arg-type]
    assert unasked.asked == []
    if not spec.needs_key:
        await make_llm(settings, Known(), Stack()).aclose()  # type: ignore[arg-type]
        return
    with pytest.raises(UsageError, match=f"no API key of {spec.name}") as refused:
        make_llm(settings, Known(), Stack())  # type: ignore[arg-type]
    assert (refused.value.code, spec.key_variable in refused.value.hint) == ("no_api_key", True)


def test_what_a_route_lacks_is_told() -> None:
    """A provider without a model of its own, and one without a URL of its own, are refused with the setting to set."""
    for spec in PROVIDERS.values():
        settings = reachable(spec).changed(**{f"{spec.name}_api_key": "key"})
        if not spec.default_model:
            with pytest.raises(UsageError, match=f"no model of {spec.name}"):
                make_llm(settings.changed(llm_model=""), Known(), Stack())  # type: ignore[arg-type]
        if not spec.vendor_url:
            with pytest.raises(UsageError, match=f"no base URL of {spec.name}") as refused:
                make_llm(settings.changed(**{f"{spec.name}_base_url": ""}), Known(), Stack())  # type: ignore[arg-type]
            assert f"{spec.name}.base_url" in refused.value.hint


def test_an_adapter_is_made_of_its_entry() -> None:
    """An entry that names an adapter is enough: that gets the key, the URL and the deadlines; no key where none is needed."""
    spec = spec_of()
    provider = make_provider(spec, api_key="key", url="http://here", timeout=TIMEOUT)
    assert made(provider) == Reach(
        name="openai", api_key="key", url="http://here", key_setting="openai.api_key (OPENAI_API_KEY)", timeout=TIMEOUT
    )
    with pytest.raises(UsageError):
        make_provider(spec, api_key="", url="http://here", timeout=TIMEOUT)
    keyless = make_provider(spec_of(needs_key=False), api_key="", url="http://here", timeout=TIMEOUT)
    assert made(keyless).api_key == ""
