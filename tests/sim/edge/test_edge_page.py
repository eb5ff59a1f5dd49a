"""The edge beside the functions: the web page, what the page is told, and how paths are read."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import jwt
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support import RunningStack

# What a page without the code can say.
OURS = {"x-cloudia": "1"}


@pytest.fixture
def http(stack: RunningStack) -> Iterator[httpx2.Client]:
    """A client without a token."""
    with httpx2.Client(base_url=stack.run["api_url"], trust_env=False) as client:
        yield client


@pytest.fixture
def opened(stack: RunningStack, http: httpx2.Client) -> dict[str, str]:
    """The headers of a page that was opened by its whole address: the cookie, and the key."""
    traded = http.post("/page/session", headers={"authorization": f"Bearer {stack.page_code}"})
    assert traded.status_code == 200
    assert traded.headers["cache-control"] == "no-store"
    name, _, value = traded.headers["set-cookie"].partition(";")[0].partition("=")
    http.cookies.clear()
    return {"cookie": f"{name}={value}", "x-cloudia": traded.json()["key"]}


def test_the_code_is_traded_for_a_cookie_that_no_script_reads(stack: RunningStack, http: httpx2.Client) -> None:
    """It is HttpOnly, of this site only, of the page's paths only, has the stack's port in its name, and is not the code."""
    secret, code = stack.project.secrets().page, stack.page_code
    traded = http.post("/page/session", headers={"authorization": f"Bearer {code}"})
    first, *attributes = [part.strip().lower() for part in traded.headers["set-cookie"].split(";")]
    assert {"httponly", "samesite=strict", "path=/page"} <= set(attributes)
    assert first.startswith(f"cloudia-{urlsplit(stack.run['api_url']).port}=")
    told = traded.headers["set-cookie"] + traded.text
    assert secret not in told
    assert code not in told


def test_a_code_is_traded_once(stack: RunningStack, http: httpx2.Client) -> None:
    """Who reads it afterwards, in a list of processes or a history, gets nothing; the next address has another."""

    def trade(code: str) -> int:
        return http.post("/page/session", headers={"authorization": f"Bearer {code}"}).status_code

    code = stack.page_code
    assert [trade(code), trade(code)] == [200, 403]
    assert [trade(stack.page_code), trade(code)] == [200, 403]


@pytest.mark.parametrize("code", ["", "wrong", "é", "x" * 5000])
def test_a_wrong_code_is_traded_for_nothing(http: httpx2.Client, code: str) -> None:
    """No cookie, no key, and the refusal says where the address is to be had."""
    refused = http.post("/page/session", headers={b"authorization": f"Bearer {code}".strip().encode()})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_local")
    assert "cloudia status" in refused.json()["error"]["hint"]
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize("left_out", ["cookie", "x-cloudia"])
def test_neither_the_cookie_nor_the_key_is_enough(http: httpx2.Client, opened: dict[str, str], left_out: str) -> None:
    """A cookie is sent to all ports of a host, a key can be read by a script: whoever has one of them gets no token."""
    del opened[left_out]
    assert http.get("/page/config", headers=opened).status_code == 403


def test_the_page_is_told_how_to_begin(stack: RunningStack, http: httpx2.Client, opened: dict[str, str]) -> None:
    """Our own page gets the gateway's URL and a token of the local user, which nobody may store."""
    response = http.get("/page/config", headers=opened)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    config = response.json()
    assert config["websocket_url"] == stack.run["websocket_url"]
    assert config["max_content_bytes"] == stack.settings.limits_content_bytes
    assert config["user"] == "local"
    claims = jwt.decode(config["token"], stack.project.secrets().token, ["HS256"])
    assert claims["sub"] == "local"
    assert claims["exp"] - claims["iat"] <= 12 * 3600
    assert http.get("/conversations", headers={"authorization": f"Bearer {config['token']}"}).status_code == 200


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_local_names_are_ours(stack: RunningStack, http: httpx2.Client, opened: dict[str, str], name: str) -> None:
    """Loopback is ours under each of its names."""
    port = urlsplit(stack.run["api_url"]).port
    assert http.get("/page/config", headers={**opened, "host": f"{name}:{port}"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"],
)
def test_a_rebound_name_gets_no_token(http: httpx2.Client, opened: dict[str, str], host: str) -> None:
    """A foreign page whose name was pointed at loopback (DNS rebinding) sends its own name, and is refused."""
    response = http.get("/page/config", headers={**opened, "host": host})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "not_local")


@pytest.mark.parametrize("headers", [{}, {"x-cloudia": "0"}, {"x-cloudia": ""}, {"x-other": "1"}])
def test_a_foreign_script_gets_no_token(http: httpx2.Client, headers: dict[str, str]) -> None:
    """Without the header, which another origin's script cannot set unasked, there is no token."""
    response = http.get("/page/config", headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "not_local")
    assert "token" not in response.json()


@pytest.mark.parametrize("path", ["/page/config", "/messages", "/conversations", "/health", "/"])
def test_no_other_origin_may_read(http: httpx2.Client, path: str) -> None:
    """A preflight is never granted, and no answer names an origin that may read it."""
    origin = {"origin": "http://evil.example"}
    asked = {**origin, "access-control-request-method": "GET", "access-control-request-headers": "x-cloudia"}
    preflight, response = http.options(path, headers=asked), http.get(path, headers={**origin, **OURS})
    assert not preflight.is_success
    for answer in (preflight, response):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_the_page_runs_no_script_but_ours(http: httpx2.Client) -> None:
    """The page comes with a policy that allows nothing inline and nothing foreign, and cannot be framed."""
    response = http.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
    assert (policy["frame-ancestors"], policy["base-uri"], policy["form-action"]) == ("'none'", "'none'", "'none'")
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert "server" not in response.headers


@pytest.mark.parametrize(
    "path", ["/..%2f__init__.py", "/%2e%2e/__init__.py", "/../../../../etc/passwd", "/__init__.py", "/x"]
)
def test_only_the_pages_files_are_served(http: httpx2.Client, path: str) -> None:
    """What is no file of the page is a 404, however its path is written."""
    assert http.get(path).status_code == 404


def test_the_description_is_served(http: httpx2.Client) -> None:
    """`/openapi.json` is the file beside the functions."""
    response = http.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == json.loads(files("cloudia.functions").joinpath("openapi.json").read_text())


@pytest.mark.parametrize(
    ("job", "status"),
    [
        ("job_01m82ns9p2xqamevtfvfmjq5f3", 404),
        ("%6Aob_01m82ns9p2xqamevtfvfmjq5f3", 404),
        ("%256Aob_01m82ns9p2xqamevtfvfmjq5f3", 400),
    ],
    ids=["plain", "encoded", "encoded twice"],
)
def test_a_path_is_decoded_once(stack: RunningStack, http: httpx2.Client, job: str, status: int) -> None:
    """An id that is encoded once is an id that nobody has; one that is encoded twice is none."""
    token = {"authorization": f"Bearer {stack.token()}"}
    assert http.get(f"/jobs/{job}", headers=token).status_code == status
