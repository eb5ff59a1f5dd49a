"""The guard of MiniStack: what it lets pass and what it refuses, decided without an engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.sim.engines import guard
from cloudia.sim.engines.guard import Rules, guarded, refusal

_PORT = 4566
_KEY = "the-key-of-this-stack"
_PAGE = "http://127.0.0.1:8000"
_EDGE = Rules(port=_PORT, access_key_id=_KEY)
_ZIPS = Rules(port=_PORT, access_key_id=_KEY, api="mine", origins=[_PAGE])
_HOST = (b"host", b"127.0.0.1:4566")


def signed(key: str = _KEY, service: str = "sqs") -> tuple[bytes, bytes]:
    """Return the header of a signed request."""
    claim = (
        f"AWS4-HMAC-SHA256 Credential={key}/20261127/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
    return b"authorization", claim.encode()


def asked(*headers: tuple[bytes, bytes], method: str = "POST", path: str = "/", query: str = "") -> dict[str, Any]:
    """Return the scope of a request."""
    return {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": list(headers)}


def code(scope: dict[str, Any], rules: Rules = _EDGE) -> str:
    """Return the code of the refusal, empty where the request passes."""
    refused = refusal(rules, scope)
    return refused.code if refused else ""


@pytest.mark.parametrize("host", ["127.0.0.1:4566", "localhost:4566", "[::1]:4566"])
@pytest.mark.parametrize("rules", [_EDGE, _ZIPS])
def test_the_stack_is_let_in(host: str, rules: Rules) -> None:
    """Whoever names the key, in the header or in the query, under a name of loopback."""
    assert code(asked((b"host", host.encode()), signed()), rules) == ""
    query = f"X-Amz-Credential={_KEY}%2F20261127%2Fus-east-1%2Fsqs%2Faws4_request"
    assert code(asked((b"host", host.encode()), query=query), rules) == ""


@pytest.mark.parametrize(
    "hosts",
    [(), (b"",), (b"127.0.0.1",), (b"127.0.0.1:1",), (b"evil.example:4566",), (_HOST[1], _HOST[1]), (b"", _HOST[1])],
)
def test_another_host_is_refused(hosts: tuple[bytes, ...]) -> None:
    """Also none, another port, and two of them; with the right key, and on the way to the functions."""
    given_hosts = [(b"host", host) for host in hosts]
    assert code(asked(*given_hosts, signed())) == "Forbidden"
    assert code(asked(*given_hosts, path="/_aws/execute-api/mine/health"), _ZIPS) == "Forbidden"
    assert code(asked(*given_hosts, method="GET", path="/_ministack/ready")) == "Forbidden"


@given(st.binary(max_size=60), st.text(max_size=60))
def test_no_other_key_opens(raw: bytes, text: str) -> None:
    """Whatever a stranger writes there, bytes that are no text too, is refused and breaks nothing."""
    assert code(asked(_HOST, (b"authorization", raw))) == "InvalidClientTokenId"
    assert code(asked(_HOST, (b"authorization", b"AWS4-HMAC-SHA256 Credential=" + raw + b"/a/b/c/d"))) != ""
    assert code(asked(_HOST, query=f"X-Amz-Credential={text}")) == "InvalidClientTokenId"


@pytest.mark.parametrize(
    "given_headers", [(), (signed(""),), (signed("test"),), (signed(_KEY + "x"),), (signed(_KEY[:-1]),)]
)
@pytest.mark.parametrize("rules", [_EDGE, _ZIPS])
def test_strangers(given_headers: tuple[tuple[bytes, bytes], ...], rules: Rules) -> None:
    """No key, an empty one, a usual one, and one that almost fits."""
    assert code(asked(_HOST, *given_headers), rules) == "InvalidClientTokenId"


def test_a_guard_without_a_key_is_none() -> None:
    """An empty key would let in who names none."""
    with pytest.raises(ValueError, match="no key"):
        Rules(port=_PORT, access_key_id="")


@pytest.mark.parametrize("browser", [(b"origin", b"null"), (b"origin", _PAGE.encode()), (b"sec-fetch-site", b"none")])
def test_no_browser(browser: tuple[bytes, bytes]) -> None:
    """Whatever key it has; where the functions are in the edge, the stack's own page has no business with the engine either."""
    assert code(asked(_HOST, signed(), browser)) == "Forbidden"
    assert code(asked(_HOST, browser, method="GET", path="/_ministack/health")) == "Forbidden"
    assert code(asked(_HOST, browser, method="GET", path="/_aws/execute-api/mine/health")) == "Forbidden"


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_the_functions_ask_for_tokens_themselves(method: str) -> None:
    """With zips the HTTP API takes no key: from no browser, and from the stack's own page."""
    api = "/_aws/execute-api/mine/messages"
    fetch = (b"sec-fetch-site", b"same-site")
    assert code(asked(_HOST, method=method, path=api), _ZIPS) == ""
    assert code(asked(_HOST, (b"origin", _PAGE.encode()), fetch, method=method, path=api), _ZIPS) == ""
    assert code(asked(_HOST, (b"origin", b"http://evil.example"), fetch, method=method, path=api), _ZIPS) == "Forbidden"
    assert code(asked(_HOST, fetch, method=method, path=api), _ZIPS) == "Forbidden"
    assert code(asked(_HOST, method=method, path=api), _EDGE) == "InvalidClientTokenId"


@pytest.mark.parametrize(
    "path",
    [
        "/_aws/execute-api/mine",
        "/_aws/execute-api/other/messages",
        "/_aws/execute-api/mine/prod/@connections/x",
        "//_aws/execute-api/mine/x",
        "/restapis/mine/prod/_user_request_/x",
        "/2015-03-31/functions",
    ],
)
def test_nothing_beside_the_functions_is_open(path: str) -> None:
    """The way to the functions is the path of this stack's API alone."""
    assert code(asked(_HOST, path=path), _ZIPS) == "InvalidClientTokenId"
    assert code(asked(_HOST, (b"origin", _PAGE.encode()), path=path), _ZIPS) == "Forbidden"


def test_a_socket_is_no_way_to_the_functions() -> None:
    """Their API is HTTP."""
    scope = {"type": "websocket", "path": "/_aws/execute-api/mine/x", "query_string": b"", "headers": [_HOST]}
    assert code(scope, _ZIPS) == "InvalidClientTokenId"


@pytest.mark.parametrize("path", ["/_ministack/ready", "/_ministack/health", "/_localstack/health"])
def test_whether_it_lives_may_be_asked(path: str) -> None:
    """By reading only."""
    assert code(asked(_HOST, method="GET", path=path)) == ""
    assert code(asked(_HOST, method="POST", path=path)) == "InvalidClientTokenId"


def test_functions_run_where_they_are_asked_for() -> None:
    """Without zips nothing is made or called in Lambda, by any way there; what an earlier run left can be seen and deleted."""
    path = "/2015-03-31/functions/x/invocations"
    for scope in (asked(_HOST, signed(), path=path), asked(_HOST, signed(service="lambda"), path="/elsewhere")):
        assert code(scope) == "AccessDeniedException"
        assert code(scope, _ZIPS) == ""
    for method in ("GET", "DELETE"):
        assert code(asked(_HOST, signed(service="lambda"), method=method, path="/2015-03-31/functions/x")) == ""


def test_the_executor_is_nobodys_to_choose() -> None:
    """What would switch Lambda on is refused to the right key too."""
    assert code(asked(_HOST, signed(), path="/_ministack/config")) != ""


async def test_what_is_refused_never_comes_through() -> None:
    """The application hears of what passes, and of its own start and end; the answer to the rest has no CORS header."""
    heard, sent = [], []

    async def app(scope: dict[str, Any], _receive: Any, _send: Any) -> None:
        heard.append(scope["type"])

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asking = guarded(app, _EDGE)
    await asking({"type": "lifespan"}, receive, send)
    await asking(asked(_HOST, signed()), receive, send)
    assert (heard, sent) == (["lifespan", "http"], [])
    await asking(asked(_HOST), receive, send)
    start, body = sent
    assert start["status"] == 403
    assert [name for name, _ in start["headers"]] == [b"content-type", b"content-length", b"x-amzn-errortype"]
    assert b"cloudia env" in body["body"]
    sent.clear()
    await asking({"type": "websocket", "path": "/", "query_string": b"", "headers": [_HOST]}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert heard == ["lifespan", "http"]


async def test_what_is_kept_is_saved_from_its_loading_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never before the application has started, which loads it; then again and again; not after it was asked to end."""
    monkeypatch.setattr(guard, "_SAVE_SECONDS", 0.001)
    saved, told = asyncio.Event(), []
    done: list[str] = []

    def save() -> None:
        done.append("saved")
        saved.set()

    async def app(scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            return
        await asyncio.sleep(0.02)
        done.append("loaded")
        await send({"type": "lifespan.startup.complete"})
        for _ in range(2):
            await saved.wait()
            saved.clear()
        done.append("ended")

    async def send(message: dict[str, Any]) -> None:
        told.append(message["type"])

    async def receive() -> dict[str, Any]:
        raise AssertionError

    keeping = guard.saving(app, save)
    await keeping(asked(_HOST), receive, send)
    await keeping({"type": "lifespan"}, receive, send)
    await asyncio.sleep(0.02)
    assert done == ["loaded", "saved", "saved", "ended"]
    assert told == ["lifespan.startup.complete"]
