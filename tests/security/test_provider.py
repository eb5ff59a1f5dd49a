"""The simulated provider answers the stack's own parts and the user's own tools: no page, no stranger."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.provider import ask_provider
from tests.patience import HANGS
from tests.security.attackers import EVIL, chromium, head_of, port_of, website

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

    from tests.support import RunningStack

_CONTROL = [
    ("GET", "requests"),
    ("DELETE", "requests"),
    ("GET", "prompts"),
    ("POST", "prompts"),
    ("DELETE", "prompts"),
    ("GET", "faults"),
    ("POST", "faults"),
    ("DELETE", "faults"),
    ("GET", "settings"),
    ("POST", "settings"),
    ("GET", "replies"),
    ("POST", "replies"),
    ("DELETE", "replies"),
]
_BODIES = {"replies": {"text": "owned"}, "faults": {"kind": "hang"}, "settings": {"ttft": 60}, "prompts": {"keep": 9}}
_STATES = ("faults", "settings", "replies", "prompts")


@pytest.fixture(scope="module")
def evil() -> Iterator[Page]:
    """A page of another origin that the developer happens to look at."""
    with website() as (port, _), chromium() as context:
        page = context.new_page()
        page.goto(f"http://{EVIL}:{port}/")
        yield page


@pytest.fixture(autouse=True)
def unchanged(stack: RunningStack) -> Iterator[None]:
    """Whatever is tried, the provider's state is what it was."""
    before = [ask_provider(stack.run, "GET", state) for state in _STATES]
    yield
    after = [ask_provider(stack.run, "GET", state) for state in _STATES]
    ask_provider(stack.run, "DELETE", "replies")
    ask_provider(stack.run, "DELETE", "faults")
    assert after == before


def test_no_page_steers_the_next_answer(stack: RunningStack, evil: Page) -> None:
    """A form's content type needs no preflight: it came through, and the developer's chat said what the page wanted."""
    script = """([url, body]) => Promise.all(['text/plain', 'application/x-www-form-urlencoded', 'application/json'].map(
        type => fetch(url, {method: 'POST', mode: type.endsWith('json') ? 'cors' : 'no-cors',
                            headers: {'content-type': type}, body}).catch(() => null)))"""
    evil.evaluate(script, [f"{stack.run['llm_url']}/_cloudia/replies", json.dumps({"text": "owned", "times": 9})])
    assert "owned" not in stack.json("send", "hello [[words:4]]")["reply"]


def test_no_page_reads_a_prompt(stack: RunningStack, evil: Page) -> None:
    """Neither of its own origin nor by a name that was rebound to this machine."""
    ask_provider(stack.run, "POST", "prompts", keep=5)
    try:
        stack.json("send", "my diary [[words:4]]")
        assert "my diary" in json.dumps(ask_provider(stack.run, "GET", "prompts"))
        url = f"{stack.run['llm_url']}/_cloudia/prompts"
        read = "url => fetch(url).then(answer => answer.text()).catch(String)"
        assert "my diary" not in evil.evaluate(read, url)
        rebound = evil.context.new_page()
        answer = rebound.goto(f"http://{EVIL}:{port_of(url)}/_cloudia/prompts")
        assert answer
        assert answer.status == 403
        assert "my diary" not in rebound.content()
        assert "my diary" not in rebound.evaluate(read, "/_cloudia/prompts")
        rebound.close()
    finally:
        ask_provider(stack.run, "DELETE", "prompts")
        ask_provider(stack.run, "POST", "prompts", keep=0)


def test_no_page_asks_the_apis(stack: RunningStack, evil: Page) -> None:
    """Neither can a page spend a scripted reply by asking for an answer itself."""
    ask = """([url, headers]) => fetch(url, {method: 'POST', headers, mode: 'no-cors',
        body: JSON.stringify({model: 'm', max_tokens: 9, messages: [{role: 'user', content: 'hi'}]})}).then(
        answer => answer.status).catch(() => null)"""
    before = ask_provider(stack.run, "GET", "requests")["total"]
    for path in ("/v1/chat/completions", "/v1/messages"):
        evil.evaluate(ask, [f"{stack.run['llm_url']}{path}", {"content-type": "text/plain"}])
    rebound = evil.context.new_page()
    rebound.goto(f"http://{EVIL}:{port_of(stack.run['llm_url'])}/")
    for path, headers in (
        ("/v1/chat/completions", {"authorization": "Bearer k"}),
        ("/v1/messages", {"x-api-key": "k"}),
    ):
        assert rebound.evaluate(ask.replace("mode: 'no-cors',", ""), [path, headers]) == 403
    rebound.close()
    assert ask_provider(stack.run, "GET", "requests")["total"] == before


@pytest.mark.parametrize(("method", "name"), _CONTROL)
@pytest.mark.parametrize("token", [None, "", "wrong", "é"])
def test_the_control_takes_a_token(stack: RunningStack, method: str, name: str, token: str | None) -> None:
    """Another user's curl is told nothing and changes nothing."""
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    assert _ask(stack, method, name, headers) == 401


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("name", list(_BODIES))
def test_a_change_is_json(stack: RunningStack, name: str, kind: str) -> None:
    """What a form can send is refused, whatever token it bears."""
    headers = {"content-type": kind, "authorization": f"Bearer {stack.project.secrets().control}"}
    assert _ask(stack, "POST", name, headers) == 415


@pytest.mark.parametrize(
    "mark", ["origin: http://evil.example", "origin: null", "sec-fetch-site: cross-site", "sec-fetch-site: same-origin"]
)
@pytest.mark.parametrize("path", ["/_cloudia/health", "/_cloudia/requests", "/v1/models"])
def test_a_browser_is_refused_even_with_the_token(stack: RunningStack, path: str, mark: str) -> None:
    """No page has any business here."""
    secrets = stack.project.secrets()
    bearer = secrets.provider if path.startswith("/v1") else secrets.control
    headers = ["host: localhost", f"authorization: Bearer {bearer}"]
    port = port_of(stack.run["llm_url"])
    assert head_of(port, path, *headers) == 200
    assert head_of(port, path, *headers, mark) == 403


def test_a_stranger_learns_that_it_lives(stack: RunningStack) -> None:
    """And no more: neither its process nor how much it does."""
    with urllib.request.urlopen(f"{stack.run['llm_url']}/_cloudia/health", timeout=HANGS) as answer:
        assert json.load(answer) == {"status": "ok"}
    assert set(ask_provider(stack.run, "GET", "health")) == {"status", "pid", "uptime", "in_flight"}


@pytest.mark.parametrize("key", ["", "simulated", "another"])
def test_another_user_is_not_answered(stack: RunningStack, key: str, as_another_user: Callable[..., str]) -> None:
    """Both APIs take the stack's own key alone, so that nobody else uses up an answer that a test has scripted."""
    ask = """import sys, urllib.request as u, urllib.error as e
for path, name, value in (("models", "authorization", "Bearer " + sys.argv[2]), ("chat/completions", "authorization",
                          "Bearer " + sys.argv[2]), ("messages", "x-api-key", sys.argv[2])):
    body = None if path == "models" else b"{}"
    try: print(u.urlopen(u.Request(sys.argv[1] + path, body, {name: value})).status)
    except e.HTTPError as error: print(error.code)
"""
    url = f"{stack.run['llm_url']}/v1/"
    assert as_another_user(ask, url, key).split() == ["401"] * 3
    assert as_another_user(ask, url, stack.project.secrets().provider).split() == ["200", "400", "400"]


def _ask(stack: RunningStack, method: str, name: str, headers: dict[str, str]) -> int:
    """Return the status of a request to the control."""
    body: Any = json.dumps(_BODIES.get(name, {})).encode() if method == "POST" else None
    request = urllib.request.Request(f"{stack.run['llm_url']}/_cloudia/{name}", body, method=method)
    for field, value in headers.items():
        request.add_header(field, value)
    try:
        with urllib.request.urlopen(request, timeout=HANGS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
