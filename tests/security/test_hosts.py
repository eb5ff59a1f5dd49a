"""Each part that speaks HTTP answers to the names of this machine, and tells strangers no more than that it lives."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

from cloudia.worker.probes import serve_probes
from tests.gateway.nodes import running
from tests.security.attackers import EVIL, chromium, head_of, port_of, raw, website
from tests.support import make_cloud

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support import RunningStack

_PARTS = {
    "edge": ("api_url", "/health"),
    "page": ("api_url", "/"),
    "description": ("api_url", "/openapi.json"),
    "gateway": ("websocket_url", "/health"),
    "websocket": ("websocket_url", "/"),
    "provider": ("llm_url", "/v1/models"),
    "control": ("llm_url", "/_cloudia/health"),
}
_FOREIGN = [
    "evil.example",
    "evil.example:80",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1@evil.example",
    "evil.example#127.0.0.1",
    "10.0.0.1",
    "[2001:db8::1]",
    "",
]
_UPGRADE = (
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize("part", list(_PARTS))
def test_a_foreign_name_is_refused(stack: RunningStack, part: str) -> None:
    """That is what stands in Host after DNS rebinding, and a page cannot change it."""
    url, path = _PARTS[part]
    port = port_of(stack.run[url])
    for name in ("127.0.0.1", f"localhost:{port}", "[::1]"):
        assert head_of(port, path, f"host: {name}") not in {400, 403}
    refused = {name: head_of(port, path, f"host: {name}") for name in _FOREIGN}
    assert set(refused.values()) <= {400, 403}, refused
    assert refused["evil.example"] == 403


@pytest.mark.parametrize("part", list(_PARTS))
def test_two_names_are_refused(stack: RunningStack, part: str) -> None:
    """Whoever reads the first and whoever reads the last would not be of one mind (RFC 9112, 3.2)."""
    url, path = _PARTS[part]
    for first, second in (("localhost", EVIL), (EVIL, "localhost"), ("localhost", "localhost")):
        assert head_of(port_of(stack.run[url]), path, f"host: {first}", f"host: {second}") == 400


async def test_the_workers_probes_too() -> None:
    """On loopback they have loopback's names; in a container any."""
    for bound, foreign in (("127.0.0.1", 403), ("0.0.0.0", 200)):  # noqa: S104 - as in a container
        async with _probes(bound) as port:
            for names, status in ((["localhost"], 200), ([EVIL], foreign), (["localhost", EVIL], 400)):
                asked = [f"host: {name}" for name in names]
                assert await asyncio.to_thread(head_of, port, "/live", *asked) == status


async def test_behind_a_load_balancer_any_name_is_right(stack: RunningStack, tmp_path: Path) -> None:
    """A gateway in a container listens on all addresses and does not know its own name; two names are two there too."""
    anywhere = {"CLOUDIA_GATEWAY_HOST": "0.0.0.0", "CLOUDIA_GATEWAY_ORIGINS": ""}  # noqa: S104 - as in a container
    async with running(make_cloud(stack), tmp_path / "gateway.log", **anywhere) as node:
        assert head_of(node.port, "/health", "host: chat.example") == 200
        assert raw(node.port, b"GET /health HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert head_of(node.port, "/health", "host: chat.example", "host: evil.example") == 400
        assert head_of(node.port, "/", *_UPGRADE, "host: chat.example", "origin: https://chat.example") == 101
        for origin in (
            "https://evil.example",
            "https://chat.example.evil.example",
            "https://chat.example:8443",
            "null",
        ):
            assert head_of(node.port, "/", *_UPGRADE, "host: chat.example", f"origin: {origin}") == 403


def test_only_the_stacks_own_page_connects_to_the_gateway(stack: RunningStack) -> None:
    """A page of another origin is refused before it can say anything; a client that is no page connects."""
    port, edge = port_of(stack.run["websocket_url"]), port_of(stack.run["api_url"])
    assert head_of(port, "/", *_UPGRADE, "host: localhost") == 101
    for origin in (f"http://127.0.0.1:{edge}", f"http://localhost:{edge}"):
        assert head_of(port, "/", *_UPGRADE, "host: 127.0.0.1", f"origin: {origin}") == 101
    for origin in (
        f"http://127.0.0.1:{port}",
        "http://127.0.0.1:9",
        f"https://127.0.0.1:{edge}",
        "null",
        "http://evil.example",
    ):
        assert head_of(port, "/", *_UPGRADE, "host: 127.0.0.1", f"origin: {origin}") == 403
    script = """url => new Promise(done => {
        const socket = new WebSocket(url);
        socket.onopen = () => done('opened');
        socket.onclose = () => done('refused');
    })"""
    with website() as (site, _), chromium() as context:
        page = context.new_page()
        page.goto(f"http://{EVIL}:{site}/")
        assert page.evaluate(script, stack.run["websocket_url"]) == "refused"
        page.goto(stack.run["web_url"].partition("?")[0])
        assert page.evaluate(script, stack.run["websocket_url"]) == "opened"


# --- what a stranger is told ------------------------------------------------------------------------------------------

_READ = "import sys, urllib.request as u; print(u.urlopen(u.Request(sys.argv[1], headers=eval(sys.argv[2]))).read().decode())"


def test_health_tells_a_stranger_only_that_it_lives(stack: RunningStack, as_another_user: Callable[..., str]) -> None:
    """The developer's own tools are told all, without a token; another user, and a page, the status."""
    url = f"{stack.run['api_url']}/health"
    with httpx2.Client(trust_env=False) as http:
        assert http.get(url).json()["workers"]
        for mark in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert http.get(url, headers=mark).json() == {"status": "ok"}
            told = http.get(url, headers={**mark, "authorization": f"Bearer {stack.token()}"}).json()
            assert told["workers"]
    assert json.loads(as_another_user(_READ, url, "{}")) == {"status": "ok"}
    bears = repr({"authorization": f"Bearer {stack.token()}"})
    assert json.loads(as_another_user(_READ, url, bears))["workers"]


def test_the_gateways_health_too(stack: RunningStack) -> None:
    """A load balancer's probe needs the status and is told no more."""
    url = stack.run["websocket_url"].replace("ws:", "http:") + "/health"
    with httpx2.Client(trust_env=False) as http:
        assert http.get(url).json() == {"status": "ok"}
        assert set(http.get(url, headers={"authorization": f"Bearer {stack.token()}"}).json()) > {"connections"}


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_a_head_is_as_large_as_api_gateways(stack: RunningStack) -> None:
    """10,240 bytes of request line and header values pass, one more is a 431."""
    port = port_of(stack.run["api_url"])
    line = "GET /openapi.json HTTP/1.1"
    room = 10_240 - len(line) - len("localhost")
    assert head_of(port, "/openapi.json", "host: localhost", f"x-large: {'x' * room}") == 200
    assert head_of(port, "/openapi.json", "host: localhost", f"x-large: {'x' * (room + 1)}") == 431
    assert head_of(port, f"/openapi.json?{'x' * 10_240}", "host: localhost") == 431
    many = [f"x-{number}: {'x' * 100}" for number in range(103)]
    assert head_of(port, "/openapi.json", "host: localhost", *many) == 431


def test_a_head_without_an_end_is_not_kept(stack: RunningStack) -> None:
    """It is answered 431 long before it fills the memory."""
    port = port_of(stack.run["api_url"])
    assert raw(port, b"GET / HTTP/1.1\r\nhost: localhost\r\nx-large: " + b"x" * 1_000_000).startswith(b"HTTP/1.1 431 ")


@asynccontextmanager
async def _probes(bound: str) -> AsyncIterator[int]:
    """Serve probes on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    async with serve_probes(bound, port, poll_age=lambda: 0.0, refused=dict, stale=30):
        yield port
