"""The model of a provider that `up.llm` names: the settings', or what the provider says that it has."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.errors import UsageError
from cloudia.local.models import chat_models, choose_model
from cloudia.providers import PROVIDERS, ProviderSpec
from tests.worker.providers.server import answer, serving

if TYPE_CHECKING:
    from tests.worker.providers.server import Server

LOCAL = [spec for spec in PROVIDERS.values() if spec.start]
VENDORS = replace(PROVIDERS["openai"], default_model="")


def models(*names: str) -> list[bytes]:
    """Return the answer with these models."""
    document = {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
    return answer(json.dumps(document).encode(), content_type="application/json")


async def chosen(spec: ProviderSpec, server: Server, model: str = "", key: str = "") -> tuple[str, list[str]]:
    """Return the model that is chosen, and what is said of it."""
    said: list[str] = []
    return await choose_model(spec, model=model, url=f"{server.url}/v1", key=key, say=said.append), said


@pytest.mark.parametrize("spec", LOCAL, ids=lambda spec: spec.name)
async def test_a_local_server_that_does_not_run_is_told_how_it_is_started(spec: ProviderSpec) -> None:
    """With a model or without one: one sentence with its URL, and how it is started."""
    async with serving() as gone:
        pass
    for model in ("", "named"):
        with pytest.raises(UsageError, match=f"{spec.title} does not answer at {gone.url}/v1") as refused:
            await chosen(spec, gone, model)
        assert refused.value.hint.startswith(spec.start)


async def test_the_model_of_a_local_server_is_its_first_that_chats() -> None:
    """It is asked with its key, and the choice is said; a model that is named is not chosen again."""
    async with serving() as server:
        server.answer = models("nomic-embed-text", "qwen3:8b", "llama3.2:3b")
        model, said = await chosen(LOCAL[0], server, key="key-1")
        assert (model, said) == ("qwen3:8b", ["model qwen3:8b: --model names another, such as llama3.2:3b"])
        assert server.requests[0].line == "GET /v1/models HTTP/1.1"
        assert server.requests[0].headers["authorization"] == "Bearer key-1"
        assert await chosen(LOCAL[0], server, "named") == ("named", [])
        server.answer = models("nomic-embed-text")
        with pytest.raises(UsageError, match="has no model"):
            await chosen(LOCAL[0], server)


async def test_a_server_that_has_no_list_may_have_the_model() -> None:
    """It answered, so it runs: with a model that is named nothing else is wanted of it."""
    async with serving() as server:
        server.answer = answer(b"no", status=404)
        assert await chosen(LOCAL[0], server, "named") == ("named", [])
        with pytest.raises(UsageError, match="answered 404"):
            await chosen(LOCAL[0], server)


async def test_of_a_vendors_models_none_is_chosen_by_chance() -> None:
    """Each has its price: several are named, one alone is taken, a default is not asked about."""
    async with serving() as server:
        server.answer = models("small", "large")
        with pytest.raises(UsageError, match="has 2 models") as refused:
            await chosen(VENDORS, server)
        assert "small, large" in refused.value.hint
        server.answer = models("only")
        assert await chosen(VENDORS, server) == ("only", ["model only: there is no other"])
        asked = len(server.requests)
        assert await chosen(PROVIDERS["openai"], server) == (PROVIDERS["openai"].default_model, [])
        assert len(server.requests) == asked


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.fixed_dictionaries({"data": inner, "id": inner}),
    )
)
def test_any_document_is_a_list_of_models_or_none(document: Any) -> None:
    """What a server answers is never an error of ours."""
    assert all(chat_models(document))
