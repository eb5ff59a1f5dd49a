"""The registry of LLM APIs: what follows from an entry, and that nothing else knows a provider by name."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cloudia
from cloudia.providers import ANY_URL, DEFAULT_PROVIDER, LLM_WORDS, PROVIDERS, SIMULATED, ProviderSpec
from cloudia.settings import SETTINGS, Settings, dotted
from cloudia.sim.llm.corpus import corpus
from cloudia.stack import Stack

PACKAGE = Path(cloudia.__file__).parent
SPECS = pytest.mark.parametrize("spec", PROVIDERS.values(), ids=lambda spec: spec.name)


@SPECS
def test_what_follows_from_an_entry(spec: ProviderSpec) -> None:
    """An entry is enough for its settings, their usual variables, the choices that take it, and the parameter of its key."""
    key, url = SETTINGS[f"{spec.name}_api_key"], SETTINGS[f"{spec.name}_base_url"]
    assert (dotted(key.name), dotted(url.name)) == (f"{spec.name}.api_key", f"{spec.name}.base_url")
    assert key.variables == (f"CLOUDIA_{spec.name.upper()}_API_KEY", spec.key_variable)
    usual = (spec.base_url_variable,) if spec.base_url_variable else ()
    assert url.variables == (f"CLOUDIA_{spec.name.upper()}_BASE_URL", *usual)
    assert (key.secret, url.secret) == (True, False)
    assert spec.name in SETTINGS["llm_provider"].choices
    assert spec.name in SETTINGS["llm_fallback_provider"].choices
    assert spec.name in LLM_WORDS
    stack = Stack("chat")
    assert stack.api_keys[spec.name].name == f"/chat/{spec.name}-api-key"
    assert stack.api_keys[spec.name] in stack.parameters


@SPECS
def test_an_entry_is_whole(spec: ProviderSpec) -> None:
    """Its name can be a table of settings and is no other's, and its adapter is there and takes what every adapter takes."""
    assert PROVIDERS[spec.name] is spec
    assert re.fullmatch("[a-z][a-z0-9]*", spec.name)
    others = {name.partition("_")[0] for name in SETTINGS if not name.startswith(f"{spec.name}_")}
    assert spec.name not in {*others, SIMULATED}
    assert spec.title
    assert spec.key_variable
    assert spec.vendor_url.startswith("http://127.0.0.1:" if spec.start else "https://") or spec.url_hint
    assert not (spec.start and spec.needs_key)
    module, _, name = spec.adapter.partition(":")
    adapter = getattr(importlib.import_module(module), name)
    assert list(inspect.signature(adapter).parameters) == ["reach"]


def test_the_page_on_providers_is_true() -> None:
    """It has a line for each entry, with its URL and its key's variable, and the cases that it names are there."""
    root = PACKAGE.parent
    page = (root / "docs" / "providers.md").read_text("utf-8")
    lines = [line for line in page.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == [*PROVIDERS]
    for spec, line in zip(PROVIDERS.values(), lines, strict=True):
        assert f"`{spec.key_variable}`" in line
        assert spec.vendor_url in line
        assert f"`{spec.default_model}`" in page or not spec.default_model
    own = {path.stem for path in (root / "tests" / "providers" / "own").glob("*.json")}
    cases = own | {case["name"] for case in corpus()}
    assert set(re.findall(r"`((?:openai|anthropic)-[a-z0-9-]+)`", page)) <= cases


def test_the_defaults_are_entries() -> None:
    """What is spoken where nobody chose, and to a URL of which no more is known, are in the registry."""
    assert Settings().llm_provider == DEFAULT_PROVIDER
    assert DEFAULT_PROVIDER in PROVIDERS
    assert PROVIDERS[ANY_URL.name] is ANY_URL
    assert ANY_URL.spoken_elsewhere


def test_accounts_are_settings() -> None:
    """`changed` and `value` know an account's settings by their names, and leave the others as they are."""
    settings = Settings().changed(openai_api_key="key", anthropic_base_url="http://here", llm_model="m")
    assert (settings.accounts["openai"].api_key, settings.accounts["openai"].base_url) == ("key", "")
    assert (settings.accounts["anthropic"].api_key, settings.accounts["anthropic"].base_url) == ("", "http://here")
    assert (settings.value("openai_api_key"), settings.value("llm_model")) == ("key", "m")
    assert settings.changed(openai_api_key="", anthropic_base_url="", llm_model="") == Settings()
    assert Settings() != settings


def test_nothing_else_knows_a_provider_by_name() -> None:
    """No source but the registry, a provider's adapter and the simulated provider has a provider's name as a word of code."""
    own = [PACKAGE / "providers.py", PACKAGE / "worker" / "providers", PACKAGE / "sim" / "llm"]
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if any(path.is_relative_to(each) for each in own):
            continue
        tree = ast.parse(path.read_text())
        texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(word)) if id(node) not in texts:
                    pass
                case ast.Name(id=word) | ast.Attribute(attr=word):
                    pass
                case _:
                    continue
            if any(name in word.lower() for name in PROVIDERS):
                found.append(f"{path.relative_to(PACKAGE)}: {word}")
    assert found == []


def test_the_registry_loads_no_sdk() -> None:
    """Settings, the definition of the cloud and the maker of routes are there without any provider's SDK."""
    code = "import sys, cloudia.settings, cloudia.stack, cloudia.worker.routes; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {*PROVIDERS, "boto3"} & set(loaded)
