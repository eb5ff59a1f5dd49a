"""`doctor --llm`: one tiny question to the configured LLM, and of what it may fail by, which it is."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.local.llm_check import check_llm
from cloudia.settings import Settings
from cloudia.sim.llm.corpus import find_case
from tests.sim.llm.conftest import Server, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(tmp_path_factory.mktemp("provider") / "stderr.log", "--tps", "0") as server:
        yield server


def _chosen(url: str, **more: Any) -> Settings:
    return Settings().changed(**{"up_llm": url, "openai_api_key": "sk-mine", **more})


async def _said(settings: Settings) -> str:
    """Ask, and return what is found and advised where it fails."""
    (check,) = await check_llm(settings)
    assert (check.name, check.state) == ("llm", "missing")
    assert check.hint
    return f"{check.found} {check.hint}"


async def test_it_answers(provider: Server) -> None:
    """The provider, the model and the time are told; one request was made, of a few tokens."""
    provider.delete("requests")
    (check,) = await check_llm(_chosen(f"{provider.url}/v1", llm_model="gpt-5-mini"))
    assert (check.name, check.state) == ("llm", "ok")
    assert check.found.startswith("openai answered as gpt-5-mini, in ")
    (record,) = provider.ended()
    assert record["completion_tokens"] <= 16


async def test_a_fallback_is_asked_too(provider: Server) -> None:
    """Each route is a check of its own."""
    settings = _chosen(
        f"{provider.url}/v1",
        llm_fallback_provider="anthropic",
        anthropic_api_key="k",
        anthropic_base_url=provider.url,
    )
    assert [check.found.split()[0] for check in await check_llm(settings)] == ["openai", "anthropic"]


async def test_the_simulated_one_stands_for_the_provider_that_is_set(provider: Server) -> None:
    """Where `up.llm` is `sim`, `llm.provider` is asked, where a deployed worker would ask it."""
    settings = _chosen("sim", openai_base_url=f"{provider.url}/v1")
    (check,) = await check_llm(settings)
    assert check.state == "ok"


async def test_nothing_listens() -> None:
    """The address is named."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    assert f"nothing listens at {dead}" in await _said(_chosen(dead))


async def test_a_name_that_does_not_resolve() -> None:
    """The name is what is wrong."""
    assert "does not resolve" in await _said(_chosen("http://nowhere.invalid/v1"))


async def test_https_where_http_is_spoken(provider: Server) -> None:
    """TLS is what failed."""
    assert "TLS" in await _said(_chosen(f"{provider.url}/v1".replace("http:", "https:")))


async def test_what_does_not_speak_http() -> None:
    """Another service's port is told."""
    async with _answering(b"* OK IMAP4rev1 ready\r\n") as url:
        assert "does not answer in HTTP" in await _said(_chosen(url))


async def test_what_never_answers() -> None:
    """The deadline is told, and the setting that it comes from."""
    async with _answering(b"") as url:
        assert "did not answer within 0.3 s" in await _said(_chosen(url, llm_first_token_seconds=0.3))


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("openai-html-instead", "a page of HTML instead of an event stream"),
        ("openai-404-model", "There is no model"),
        ("openai-401", "Check the API key"),
        ("openai-429-quota", "credit is used up"),
        ("openai-error-in-stream-400", "reported an error in its stream"),
    ],
)
async def test_what_a_server_says(case: str, said: str, provider: Server) -> None:
    """Each is told for what it is."""
    provider.delete("cases")
    provider.post("cases", case=find_case(case))
    assert said in await _said(_chosen(f"{provider.url}/v1"))


async def test_json_instead_of_a_stream(provider: Server) -> None:
    """An API that does not stream is told."""
    provider.delete("cases")
    exchange = {"headers": {"content-type": "application/json"}, "body": [{"text": '{"hello": "world"}'}]}
    provider.post("cases", case={"api": "openai", "turns": [{"exchanges": [exchange]}]})
    assert "JSON instead of an event stream" in await _said(_chosen(f"{provider.url}/v1"))


@pytest.mark.parametrize(
    ("api", "path", "said"),
    [
        ("openai", "", "does the base URL lack /v1?"),
        ("openai", "/api/v2", "check the base URL."),
        ("anthropic", "/v1", "leave the version out of the base URL"),
        ("anthropic", "/other", "check the base URL."),
    ],
)
async def test_a_base_url_that_leads_nowhere(provider: Server, api: str, path: str, said: str) -> None:
    """What is probably wrong is said: Anthropic's API has its version in the path behind the URL, others in the URL."""
    provider.delete("cases")
    found = await _said(
        Settings().changed(**{"up_llm": api, f"{api}_api_key": "sk-mine", f"{api}_base_url": provider.url + path})
    )
    assert said in found
    assert ("lack /v1" in found) == ("lack /v1" in said)


async def test_refused_fields_are_left_out(provider: Server) -> None:
    """A server that knows fewer fields passes, as it does with a worker."""
    provider.delete("cases")
    provider.post("cases", case=find_case("openai-stream-options-refused"))
    (check,) = await check_llm(_chosen(f"{provider.url}/v1"))
    assert check.state == "ok"


@pytest.mark.parametrize(
    ("key", "said"), [("", "there is no API key of openai"), ("sk-one\nsk-two", "holds a line end")]
)
async def test_a_key_that_is_none(key: str, said: str) -> None:
    """It is refused before anything is sent."""
    assert said in await _said(Settings().changed(up_llm="openai", openai_api_key=key))


@asynccontextmanager
async def _answering(raw: bytes) -> AsyncIterator[str]:
    """Answer whatever comes with these bytes, nothing where there are none, on loopback until the block ends."""
    ended = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        ended.set()
        server.close()
        await server.wait_closed()
