"""The page's token is for who has the address that `up` printed, in whose browser it stays."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.patience import HANGS
from tests.security.attackers import EVIL, chromium, port_of, website

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext, Page

    from tests.support import RunningStack

_CONNECTED = '#state[data-state="connected"]'


@pytest.fixture
def developer() -> Iterator[BrowserContext]:
    """The developer's browser, as it is before the page was opened."""
    with chromium() as context:
        yield context


def _opened(stack: RunningStack, context: BrowserContext) -> Page:
    """Open the page by its whole address, and wait until it is connected."""
    page = context.new_page()
    page.goto(stack.page_url)
    page.wait_for_selector(_CONNECTED)
    return page


def _origin(stack: RunningStack) -> str:
    return f"http://127.0.0.1:{port_of(stack.run['web_url'])}"


def _config(stack: RunningStack, **headers: str) -> int:
    """Return the status that whoever sends these headers gets the token with."""
    request = urllib.request.Request(f"{_origin(stack)}/page/config", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=HANGS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_code_is_gone_once_the_page_is_there(stack: RunningStack, developer: BrowserContext) -> None:
    """It is not in the address bar, not in the tab's history, and in no referrer; nor is the token in any URL."""
    whole, asked = stack.page_url, list[tuple[str, str]]()
    code = whole.partition("code=")[2]
    developer.on("request", lambda request: asked.append((request.url, request.headers.get("referer", ""))))
    page = _opened(stack, developer)
    assert page.url == f"{_origin(stack)}/"
    assert page.evaluate("document.referrer + performance.getEntriesByType('navigation').length") == "1"
    with website() as (port, seen):
        page.goto(f"http://127.0.0.1:{port}/")
        page.go_back()
        page.wait_for_selector(_CONNECTED)
        assert code not in page.url
        page.evaluate("url => { location.href = url; }", f"http://127.0.0.1:{port}/next")
        page.wait_for_url("**/next")
        assert code not in json.dumps(seen)
    assert [url for url, _ in asked if code in url] == [whole]
    assert not [referrer for _, referrer in asked if code in referrer]


def test_a_reload_and_another_tab_need_no_code(stack: RunningStack, developer: BrowserContext) -> None:
    """The browser remembers it, in a cookie that no script can read."""
    page = _opened(stack, developer)
    page.reload()
    page.wait_for_selector(_CONNECTED)
    other = developer.new_page()
    other.goto(f"{_origin(stack)}/")
    other.wait_for_selector(_CONNECTED)
    (cookie,) = developer.cookies(f"{_origin(stack)}/page/config")
    assert (cookie.get("httpOnly"), cookie.get("sameSite"), cookie.get("path")) == (True, "Strict", "/page")
    assert "cloudia" not in page.evaluate("document.cookie")
    assert stack.project.secrets().page not in json.dumps(developer.storage_state())


def test_without_the_code_the_page_says_how_to_get_in(stack: RunningStack, developer: BrowserContext) -> None:
    """It shows the sign-in with where the address is to be had, and a wrong code is none."""
    for address in ("/", "/?code=wrong", "/?code="):
        page = developer.new_page()
        page.goto(f"{_origin(stack)}{address}")
        page.get_by_text("`cloudia status` prints an address").wait_for()
        assert page.url == f"{_origin(stack)}/"
    page.goto(stack.page_url)
    page.wait_for_selector(_CONNECTED)


def test_an_address_opens_one_browser(stack: RunningStack, developer: BrowserContext) -> None:
    """It goes on opening the one that it has opened; for another one `cloudia status` prints the next."""
    whole = stack.page_url
    for _ in range(2):
        page = developer.new_page()
        page.goto(whole)
        page.wait_for_selector(_CONNECTED)
    assert developer.browser
    other = developer.browser.new_context()
    page = other.new_page()
    page.goto(whole)
    page.get_by_text("`cloudia status` prints an address").wait_for()
    _opened(stack, other)
    other.close()


def test_another_user_of_the_machine_gets_no_token(stack: RunningStack, as_another_user: Callable[..., str]) -> None:
    """Whatever a stranger's curl says of itself, as the page did before it had a code."""
    ask = """import sys, urllib.request as u, urllib.error as e
known = {"x-cloudia": "1", "sec-fetch-site": "same-origin"}
for headers in ({}, known, {**known, "cookie": "cloudia-%s=1" % sys.argv[2]}):
    try: print(u.urlopen(u.Request(sys.argv[1], headers=headers)).read())
    except e.HTTPError as error: print(error.code)
"""
    told = as_another_user(ask, f"{_origin(stack)}/page/config", str(port_of(stack.run["web_url"])))
    assert told.split() == ["403"] * 3


def test_the_cookie_alone_opens_nothing(stack: RunningStack, developer: BrowserContext) -> None:
    """A browser sends it to every port of the host, so also to the server of another user: it is of no use there."""
    _opened(stack, developer)
    with website() as (port, seen):
        foreign = developer.new_page()
        foreign.goto(f"http://127.0.0.1:{port}/page/x")
        (stolen,) = [headers["cookie"] for headers in seen if "cloudia-" in headers.get("cookie", "")]
    for key in ("", "1", stolen.partition("=")[2]):
        assert _config(stack, **{"cookie": stolen, "x-cloudia": key}) == 403


@pytest.mark.parametrize("host", ["127.0.0.1", EVIL])
def test_a_page_of_another_origin_gets_no_token(stack: RunningStack, developer: BrowserContext, host: str) -> None:
    """Neither one of this host's other ports, whose requests carry the cookie, nor one of another site, nor a rebound one."""
    _opened(stack, developer)
    read = """async url => {
        const options = [{}, {credentials: 'include'}, {mode: 'no-cors'},
                         {credentials: 'include', headers: {'x-cloudia': '1'}}];
        return Promise.all(options.map(each => fetch(url, each).then(answer => answer.text()).catch(() => '')));
    }"""
    with website() as (port, _):
        page = developer.new_page()
        page.goto(f"http://{host}:{port}/")
        assert "token" not in "".join(page.evaluate(read, f"{_origin(stack)}/page/config"))
        framed = """url => new Promise(done => {
            const frame = document.createElement('iframe');
            frame.onload = () => {
                try { done(frame.contentWindow.localStorage.getItem('cloudia.page') ?? '') } catch { done('') }
            };
            frame.src = url;
            document.body.append(frame);
        })"""
        assert page.evaluate(framed, f"{_origin(stack)}/") == ""
    rebound: Any = developer.new_page()
    answer = rebound.goto(f"http://{EVIL}:{port_of(stack.run['web_url'])}/page/config")
    assert answer.status == 403
