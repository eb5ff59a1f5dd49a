"""Bedrock's two APIs, through the SDKs: requests that are signed by AWS's credentials, or bear a key."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import anthropic
import httpx2
import openai
import pytest

from cloudia.errors import UsageError
from cloudia.providers import PROVIDERS, base_url
from cloudia.settings import Settings
from cloudia.stack import Stack
from cloudia.worker.providers.anthropic import AnthropicProvider
from cloudia.worker.providers.openai import OpenAIProvider
from cloudia.worker.routes import make_llm
from tests.worker.providers import anthropic_events, openai_events
from tests.worker.providers.calls import HELLO_PIECES, ask, failure, reach, request
from tests.worker.providers.server import answer, events

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cloudia.worker.providers.base import Provider
    from tests.worker.providers.server import Request, Server

Adapter: TypeAlias = type[OpenAIProvider] | type[AnthropicProvider]
Made: TypeAlias = "tuple[str, Adapter, Sequence[bytes]]"
ADAPTERS: dict[str, tuple[Adapter, Sequence[bytes]]] = {
    "bedrock": (OpenAIProvider, openai_events.whole(*openai_events.HELLO)),
    "bedrockclaude": (AnthropicProvider, answer(events(*anthropic_events.HELLO))),
}


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave nothing of AWS in the environment, and no file and no server to ask."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_BEARER_TOKEN_BEDROCK",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.fixture(params=ADAPTERS)
def made(request: pytest.FixtureRequest) -> Made:
    """Each API: its name, its adapter, and an answer."""
    name: str = request.param
    return name, *ADAPTERS[name]


def provider_of(
    name: str,
    adapter: Adapter,
    server: Server,
    key: str = "",
    region: str = "eu-west-1",
) -> Provider:
    """Return the adapter, talking to the test's server. Anthropic's SDK keeps the credentials that it found for a region."""
    return adapter(replace(reach(server.url, name, key=key), region=region))


def signature_of(sent: Request, secret: str) -> str:
    """Return the signature that AWS computes of a request as it came.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    headers = sent.headers
    fields = dict(field.split("=", 1) for field in headers["authorization"].partition(" ")[2].split(", "))
    scope = fields["Credential"].partition("/")[2]
    names = fields["SignedHeaders"].split(";")
    told = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
    digest = hashlib.sha256(sent.raw).hexdigest()
    canonical = "\n".join(["POST", sent.line.split(" ")[1], "", told, ";".join(names), digest])
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


async def test_a_request_is_signed(
    made: Made,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the credentials of AWS's usual chain, for the region; an id of an inference profile is a model as any other."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-sent")
    name, adapter, server.answer = made
    provider = provider_of(name, adapter, server)
    assert await ask(provider, replace(request(), model="eu.anthropic.claude-x-v1:0")) == HELLO_PIECES
    await provider.aclose()
    (sent,) = server.requests
    assert sent.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIATEST/")
    assert "/eu-west-1/" in sent.headers["authorization"]
    assert sent.headers["authorization"].endswith(f"Signature={signature_of(sent, 'not-sent')}")
    assert sent.body["model"] == "eu.anthropic.claude-x-v1:0"
    assert "not-sent" not in str(sent.headers)


@pytest.mark.parametrize(
    ("name", "url", "service"),
    [
        ("bedrock", "", "bedrock"),
        ("bedrockclaude", "", "bedrock"),
        ("bedrock", "https://bedrock-mantle.eu-west-1.api.aws/v1", "bedrock-mantle"),
        ("bedrockclaude", "https://bedrock-mantle.eu-west-1.api.aws/anthropic", "bedrock-mantle"),
    ],
)
async def test_a_signature_is_for_the_service_of_the_host(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, service: str
) -> None:
    """Both endpoints take both APIs, each under a service of its own; a session's token is signed along."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(variable, variable.lower())
    sent: list[httpx2.Request] = []

    def take(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(403)

    def client(**_: object) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(take))

    for sdk in (openai, anthropic):
        monkeypatch.setattr(sdk, "DefaultAioHttpClient", client)
    own = base_url(PROVIDERS[name], url, region="eu-west-1")
    provider = ADAPTERS[name][0](replace(reach(own, name, key=""), region="eu-west-1"))
    await failure(provider)
    await provider.aclose()
    assert f"/eu-west-1/{service}/aws4_request" in sent[0].headers["authorization"]
    assert "x-amz-security-token" in sent[0].headers["authorization"]


async def test_a_request_bears_a_key(made: Made, server: Server) -> None:
    """Where there is one, nothing is signed."""
    name, adapter, server.answer = made
    provider = provider_of(name, adapter, server, key="key-1")
    assert await ask(provider) == HELLO_PIECES
    await provider.aclose()
    assert server.requests[0].headers["authorization"] == "Bearer key-1"


async def test_without_credentials_nothing_is_sent(made: Made, server: Server) -> None:
    """It is a failure that no other try mends, and says what is missing."""
    name, adapter, server.answer = made
    provider = provider_of(name, adapter, server, region="eu-north-1")
    _, error = await failure(provider)
    await provider.aclose()
    assert (error.kind, error.cause, server.requests) == ("rejected", "key", [])
    assert "AWS credentials" in str(error)
    assert f"{name}.api_key" in error.advice


class Nothing:
    """Parameters that hold nothing."""

    def get(self, _parameter: object) -> None:
        return None


@pytest.mark.parametrize("name", ADAPTERS)
async def test_the_credentials_of_an_engine_sign_nothing(name: str) -> None:
    """I10: on a stack of one's own AWS is reached by a key that was given for it, or not at all."""
    spec = PROVIDERS[name]
    settings = Settings().changed(llm_provider=name, llm_model="m", aws_region="eu-west-1")
    llm = make_llm(settings, Nothing(), Stack())  # type: ignore[arg-type]
    await llm.aclose()
    local = settings.changed(aws_access_key_id="own", aws_secret_access_key="own")
    with pytest.raises(UsageError) as refused:
        make_llm(local, Nothing(), Stack())  # type: ignore[arg-type]
    assert (refused.value.code, spec.key_variable in refused.value.hint) == ("no_api_key", True)
    llm = make_llm(local.changed(**{f"{name}_api_key": "key"}), Nothing(), Stack())  # type: ignore[arg-type]
    await llm.aclose()
