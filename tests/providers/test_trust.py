"""The way to a provider: whose certificates are trusted, and which requests go through the environment's proxy."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme

from cloudia.errors import UsageError
from cloudia.local.llm_check import check_llm
from cloudia.settings import Settings
from cloudia.sim.llm.case import parse
from cloudia.sim.llm.corpus import find_case

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

_REMOTE = "llm.example"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own proxies and certificates."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """A file with the private authority's certificate."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@asynccontextmanager
async def _serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve connections on loopback; give the port. Break off what is open in the end."""
    serving: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client went.
        finally:
            writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(served(reader, writer))
        serving.add(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def _provider(authority: trustme.CA | None = None) -> AsyncIterator[int]:
    """Answer each request as a case does, over TLS where there is an authority; give the port on loopback."""
    tls = None
    if authority:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", _REMOTE).configure_cert(tls)
    ((exchange, *_),) = parse(find_case("openai-no-done")).turns[0].values()
    answer = exchange.head(0) + b"".join(piece for piece in exchange.writes() if isinstance(piece, bytes))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()  # The client closes.

    async with _serving(serve, tls) as port:
        yield port


@asynccontextmanager
async def _proxy(seen: list[str], target: int) -> AsyncIterator[str]:
    """Hand everything on to a port of loopback, a tunnel too; note the first line of each connection."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            writer.write(part)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head.partition(b"\r\n")[0].decode())
        behind, ahead = await asyncio.open_connection("127.0.0.1", target)
        if head.startswith(b"CONNECT "):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            ahead.write(head)
        try:
            await asyncio.gather(pump(reader, ahead), pump(behind, writer))
        finally:
            ahead.transport.abort()

    async with _serving(serve) as port:
        yield f"http://127.0.0.1:{port}"


async def _found(url: str, **more: str) -> tuple[str, str]:
    """Ask the provider at a URL. Return how that went, and what is said of it."""
    (check,) = await check_llm(Settings().changed(up_llm=url, openai_api_key="k", llm_first_token_seconds=20.0, **more))
    return check.state, f"{check.found} {check.hint}"


async def test_a_private_authority(authority: trustme.CA, bundle: str) -> None:
    """With `llm.ca_bundle` a provider of a private authority answers; without, a sentence says what failed and what helps."""
    async with _provider(authority) as port:
        url = f"https://127.0.0.1:{port}/v1"
        state, said = await _found(url)
        assert state == "missing"
        assert f"TLS with {url} failed" in said
        assert "llm.ca_bundle" in said
        assert (await _found(url, llm_ca_bundle=bundle))[0] == "ok"


async def test_the_variables_that_people_have(
    authority: trustme.CA, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE is heard as everywhere, and REQUESTS_CA_BUNDLE counts where the setting names nothing."""
    async with _provider(authority) as port:
        url = f"https://127.0.0.1:{port}/v1"
        monkeypatch.setenv("SSL_CERT_FILE", bundle)
        assert (await _found(url))[0] == "ok"
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
        assert (await _found(url))[0] == "ok"


async def test_a_bundle_is_beside_the_others(authority: trustme.CA, bundle: str, tmp_path: Path) -> None:
    """A bundle takes no trust away: what SSL_CERT_FILE names still counts."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", bundle)
        async with _provider(authority) as port:
            assert (await _found(f"https://127.0.0.1:{port}/v1", llm_ca_bundle=str(other)))[0] == "ok"


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_bundle_that_is_none(content: str | None, tmp_path: Path) -> None:
    """A file that is not there, or holds no certificate, is named before anything is asked."""
    path = tmp_path / "bundle.pem"
    if content:
        path.write_text(content)
    state, said = await _found("https://127.0.0.1:9/v1", llm_ca_bundle=str(path))
    assert state == "missing"
    assert f"there are no certificates in {path}" in said


async def test_a_remote_provider_is_reached_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What HTTP_PROXY names is asked for a provider that is not on this machine."""
    seen: list[str] = []
    async with _provider() as port, _proxy(seen, port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        assert (await _found(f"http://{_REMOTE}/v1"))[0] == "ok"
    assert seen == [f"POST http://{_REMOTE}/v1/chat/completions HTTP/1.1"]


async def test_a_bundle_counts_through_a_proxy_too(
    authority: trustme.CA, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a tunnel the provider's certificate is checked as without: a private one fails, and passes with the bundle."""
    seen: list[str] = []
    async with _provider(authority) as port, _proxy(seen, port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        assert (await _found(f"https://{_REMOTE}/v1"))[0] == "missing"
        assert (await _found(f"https://{_REMOTE}/v1", llm_ca_bundle=bundle))[0] == "ok"
    assert seen == [f"CONNECT {_REMOTE}:443 HTTP/1.1"] * 2


async def test_loopback_is_never_reached_through_a_proxy(
    authority: trustme.CA, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider on this machine is reached directly, over http and https, whatever the environment says."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, dead)
    async with _provider() as port:
        assert (await _found(f"http://127.0.0.1:{port}/v1"))[0] == "ok"
        assert (await _found(f"http://localhost:{port}/v1"))[0] == "ok"
    async with _provider(authority) as port:
        assert (await _found(f"https://127.0.0.1:{port}/v1", llm_ca_bundle=bundle))[0] == "ok"


def test_a_worker_refuses_it_at_its_start(tmp_path: Path) -> None:
    """`UsageError`, as for any setting that is wrong."""
    from cloudia.worker.providers.trust import trusting  # noqa: PLC0415 - only here

    with pytest.raises(UsageError, match="no certificates in"):
        trusting(str(tmp_path / "nowhere.pem"))
