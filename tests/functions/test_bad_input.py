"""Bad input is a 4xx that says what is wrong, and nothing comes of it: no message, no job, no process that falls."""

from __future__ import annotations

import base64
import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import pytest

from cloudia.cloud.items import encode_cursor
from tests.functions.contract import code_of
from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.functions.apis import QuietCloud, Users
    from tests.support import RunningStack

NO_CONVERSATION = "cnv_01m82ns9p2semfsg913ts4wmzb"
NO_JOB = "job_01m82ns9p2xqamevtfvfmjq5f3"
NO_SESSION = f"ses_{'a' * 22}.{'b' * 43}"
SIX_MB = 6 * 1024 * 1024


def body(**fields: Any) -> bytes:
    """Return a JSON body in UTF-8."""
    return json.dumps(fields, ensure_ascii=False).encode()


BODIES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "not_json"),
    "no JSON": (b"content=hello", 400, "not_json"),
    "half a JSON": (b'{"content": "hel', 400, "not_json"),
    "JSON and more": (b'{"content": "hello"} {}', 400, "not_json"),
    "a byte order mark": (b'\xef\xbb\xbf{"content": "hello"}', 400, "not_json"),
    "a number of 5,000 digits": (b'{"content": ' + b"1" * 5000 + b"}", 400, "not_json"),
    "deeply nested arrays": (b"[" * 100_000, 400, "not_json"),
    "deeply nested objects": (b'{"content":' * 100_000, 400, "not_json"),
    "Latin-1": ('{"content": "é"}'.encode("latin-1"), 400, "not_utf8"),
    "UTF-16": ('{"content": "hello"}'.encode("utf-16"), 400, "not_utf8"),
    "an encoded surrogate": (b'{"content": "\xed\xa0\x80"}', 400, "not_utf8"),
    "half of a surrogate pair": (b'{"content": "\\ud800"}', 400, "not_utf8"),
    "an array": (b'["content", "hello"]', 400, "invalid_request"),
    "a string": (b'"hello"', 400, "invalid_request"),
    "null": (b"null", 400, "invalid_request"),
    "an unknown field": (body(content="hello", user_id="mallory"), 400, "unknown_field"),
    "a field in capitals": (body(Content="hello"), 400, "unknown_field"),
    "an unknown field that is half a pair": (b'{"content": "hello", "\\ud800": 1}', 400, "unknown_field"),
    "content is a number": (body(content=1), 400, "wrong_type"),
    "content is an array": (body(content=["hello"]), 400, "wrong_type"),
    "content is not a number": (b'{"content": NaN}', 400, "wrong_type"),
    "conversation_id is a number": (body(content="hello", conversation_id=1), 400, "wrong_type"),
    "session_id is an object": (body(content="hello", session_id={}), 400, "wrong_type"),
    "idempotency_key is a bool": (body(content="hello", idempotency_key=True), 400, "wrong_type"),
    "no content": (b"{}", 400, "empty_content"),
    "content is null": (body(content=None), 400, "empty_content"),
    "content is empty": (body(content=""), 400, "empty_content"),
    "content is white space": (body(content=" \t\r\n\u2003\u3000"), 400, "empty_content"),
    "a byte too many": (body(content="x" * 32_769), 413, "content_too_large"),
    "too many bytes of fewer characters": (body(content="é" * 16_384 + "x"), 413, "content_too_large"),
    "an id of something else": (body(content="hello", conversation_id=NO_JOB), 400, "bad_conversation_id"),
    "an id with a newline": (body(content="hello", conversation_id=f"{NO_CONVERSATION}\n"), 400, "bad_conversation_id"),
    "an empty id": (body(content="hello", conversation_id=""), 400, "bad_conversation_id"),
    "an empty key": (body(content="hello", idempotency_key=""), 400, "bad_idempotency_key"),
    "a key of 129": (body(content="hello", idempotency_key="k" * 129), 400, "bad_idempotency_key"),
    "a key with a newline": (body(content="hello", idempotency_key="k\n"), 400, "bad_idempotency_key"),
    "a key that is not ASCII": (body(content="hello", idempotency_key="é"), 400, "bad_idempotency_key"),
    "a key that is half a pair": (b'{"content": "hello", "idempotency_key": "\\ud800"}', 400, "bad_idempotency_key"),
    "an unknown conversation": (body(content="hello", conversation_id=NO_CONVERSATION), 404, "no_conversation"),
    "a session nobody signed": (body(content="hello", session_id=NO_SESSION), 404, "no_session"),
    "a garbage session": (body(content="hello", session_id="garbage"), 404, "no_session"),
    "an empty session": (body(content="hello", session_id=""), 404, "no_session"),
    "a session that is half a pair": (b'{"content": "hello", "session_id": "\\ud800"}', 404, "no_session"),
    "a body over 6 MB": (body(content="x" * SIX_MB), 413, "body_too_large"),
}
"""What a body is, the body, and the status and code that it gets."""


@dataclass(frozen=True)
class Bad:
    """A bad request without a body, and what it gets. `{conversation}` stands for one of the caller's."""

    path: str
    status: int
    code: str
    method: str = "GET"
    query: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return a name for the test."""
        query = "&".join(f"{name}={value[:24]}" for name, value in self.query.items())
        return f"{self.method} {self.path}?{query}".rstrip("?")


LISTS = ("/conversations", "/conversations/{conversation}/messages")
LIMITS = (
    "0",
    "-1",
    "101",
    "x",
    "",
    "1.0",
    "1e1",
    "\u0663",
    " 1",
    "9" * 9,
    "9" * 5000,
    "0000000010000",
    "1".zfill(9) + "0" * 5000,
)
GARBAGE = base64.urlsafe_b64encode(json.dumps([1, 2]).encode()).decode()
TOO_LONG = base64.urlsafe_b64encode(json.dumps(["msg_x", "cnv_x"]).ljust(384).encode()).decode()
ONE, TWO = encode_cursor(f"msg_{NO_JOB[4:]}0"), encode_cursor("2026-11-22T22:24:47.810Z", NO_CONVERSATION)
REQUESTS = [
    *(Bad(path, 400, "bad_limit", query={"limit": limit}) for path in LISTS for limit in LIMITS),
    *(
        Bad(path, 400, "bad_cursor", query={"cursor": cursor})
        for path, other in zip(LISTS, (ONE, TWO), strict=True)
        for cursor in ("garbage", "!!!!", "é", "A" * 5000, GARBAGE, f"{TOO_LONG}!!!!", other, ONE[:-3])
    ),
    *(Bad(path, 400, "unknown_parameter", query={"Limit": "1"}) for path in LISTS),
    Bad(LISTS[0], 400, "unknown_parameter", query={"order": "asc"}),
    Bad(LISTS[1], 400, "bad_order", query={"order": "DESC"}),
    Bad(LISTS[1], 400, "bad_order", query={"order": ""}),
    Bad("/conversations/x/messages", 400, "bad_conversation_id"),
    Bad(f"/conversations/{NO_JOB}/messages", 400, "bad_conversation_id"),
    Bad(f"/conversations/{NO_CONVERSATION}%20/messages", 400, "bad_conversation_id"),
    Bad(f"/conversations/{NO_CONVERSATION}/messages", 404, "no_conversation"),
    *(
        Bad(f"/jobs/{job}{then}", status, code, method)
        for then, method in (("", "GET"), ("/cancel", "POST"))
        for job, status, code in (
            ("x", 400, "bad_job_id"),
            (NO_CONVERSATION, 400, "bad_job_id"),
            (NO_JOB.upper(), 400, "bad_job_id"),
            ("%ff%00%20", 400, "bad_job_id"),
            (f"{NO_JOB}%3Fx=1", 400, "bad_job_id"),
            (NO_JOB, 404, "no_job"),
        )
    ),
    *(
        Bad(path, 404, "no_route", method)
        for method, path in (
            ("GET", "/messages"),
            ("PUT", "/messages"),
            ("DELETE", "/conversations/{conversation}/messages"),
            ("PATCH", f"/jobs/{NO_JOB}"),
            ("POST", "/health"),
            ("GET", "/jobs"),
            ("GET", "/jobs/a/b"),
            ("GET", "/conversations/{conversation}"),
            ("GET", "/nothing"),
            ("POST", "/nothing"),
            ("POST", "/"),
            ("OPTIONS", "/messages"),
        )
    ),
]


@pytest.fixture(params=["without a worker", "with a worker"])
def caller(request: pytest.FixtureRequest, quiet: QuietCloud, users: Users, user: str) -> Iterator[httpx2.Client]:
    """A client of either API. Nothing that it sends may end in the queue, or be recorded."""
    alone = request.param == "without a worker"
    client = quiet.client(user) if alone else users.client(user)
    before = quiet.depth()
    yield client
    if alone:
        assert quiet.depth() == before
    assert client.get("/conversations").json()["conversations"] == []


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_refused_and_leaves_nothing(caller: httpx2.Client, name: str) -> None:
    """`POST /messages` names what is wrong with a body by status and code, and records nothing."""
    content, status, code = BODIES[name]
    response = caller.post("/messages", content=content)
    assert (response.status_code, code_of(response)) == (status, code)


@pytest.fixture(scope="module")
def conversation(quiet: QuietCloud) -> str:
    """A conversation of the reader's."""
    accepted = quiet.client("reader").post("/messages", json={"content": "hello"}).json()
    return str(accepted["conversation_id"])


@pytest.mark.parametrize("bad", REQUESTS, ids=str)
def test_a_bad_request_is_refused(quiet: QuietCloud, conversation: str, bad: Bad) -> None:
    """Ids, queries, paths and methods that are none are refused by status and code."""
    path, before = bad.path.replace("{conversation}", conversation), quiet.depth()
    response = quiet.client("reader").request(bad.method, path, params=bad.query or None)
    assert (response.status_code, code_of(response)) == (bad.status, bad.code)
    assert quiet.depth() == before


def test_a_body_of_unknown_length_over_6_mb_is_refused(caller: httpx2.Client) -> None:
    """A chunked body is counted as it comes: 413 once it is over 6 MB."""
    response = caller.post("/messages", content=(b"x" * 65_536 for _ in range(200)))
    assert (response.status_code, code_of(response)) == (413, "body_too_large")


def test_what_is_refused_is_not_quoted_at_length(caller: httpx2.Client) -> None:
    """An error quotes at most 64 characters of what was sent."""
    response = caller.post("/messages", content=body(**{"x" * 10_000: 1}))
    assert code_of(response) == "unknown_field"
    assert len(response.content) < 500


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/octet-stream", "image/png", ""]
)
def test_the_content_type_does_not_matter(quiet: QuietCloud, user: str, content_type: str) -> None:
    """A body is read as UTF-8 whatever its type: text reaches a function as it is, anything else in base64."""
    response = quiet.client(user).post(
        "/messages", content=body(content="grüße"), headers={"content-type": content_type}
    )
    assert response.status_code == 202
    assert quiet.client(user).get("/conversations").json()["conversations"][0]["title"] == "grüße"


@pytest.mark.parametrize(
    "content",
    [
        "x" * 32_768,
        "é" * 16_384,
        "\U0001f600" * 8_192,
        "\x00",
        "\x01" * 32_768,
        '"\\' * 16_384,
        "a\u2028b",
        "\ufffe\uffff",
    ],
    ids=["ascii", "two bytes", "four bytes", "nul", "control", "escapes", "line separator", "noncharacters"],
)
def test_content_at_its_limit_is_accepted_as_it_is(quiet: QuietCloud, user: str, content: str) -> None:
    """32,768 bytes are no byte too many, and any character that UTF-8 has arrives unchanged, in history and queue."""
    quiet.drain()
    accepted = quiet.client(user).post("/messages", content=body(content=content))
    assert accepted.status_code == 202
    path = f"/conversations/{accepted.json()['conversation_id']}/messages"
    assert [message["content"] for message in quiet.client(user).get(path).json()["messages"]] == [content]
    assert [job.content for job in quiet.drain()] == [content]


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        "GET /jobs/é HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        b"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["garbage", "no host", "a raw path", "a negative length", "a bad chunk"],
)
def test_what_is_not_http_is_a_400(stack: RunningStack, raw: bytes) -> None:
    """Bytes that are no HTTP request are answered 400, and the connection is closed."""
    with socket.create_connection(_address(stack), timeout=HANGS) as connection:
        connection.sendall(raw)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_client_that_goes_away_leaves_nothing(stack: RunningStack, users: Users, user: str) -> None:
    """A connection that breaks off within its body is no request: nothing is recorded, and the next one is answered."""
    token = stack.token(user)
    with socket.create_connection(_address(stack), timeout=HANGS) as connection:
        head = (
            f"POST /messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 99\r\n\r\n"
        )
        connection.sendall(head.encode() + b'{"content": "hello"}')
    assert users.client(user).get("/conversations").json()["conversations"] == []


def _address(stack: RunningStack) -> tuple[str, int]:
    url = urlsplit(stack.run["api_url"])
    assert url.hostname
    assert url.port
    return url.hostname, url.port
