"""API Gateway's payload format 2.0: what a function gets of a request, and what becomes of its result."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.functions.http import Request
from cloudia.sim.edge.events import HttpRequest, HttpResponse, make_event, match, read_result
from cloudia.stack import Route, Stack

if TYPE_CHECKING:
    from cloudia.cloud.cloud import Cloud

ROUTE = Route("GET", "/conversations/{id}/messages", "list_messages")


def event_of(**changes: Any) -> dict[str, Any]:
    """Return the event of a request."""
    request: dict[str, Any] = {
        "method": "GET",
        "path": "/conversations/c/messages",
        "raw_query": "",
        "query": [],
        "headers": [("host", "127.0.0.1:1")],
        "body": b"",
        "source_ip": "127.0.0.1",
        **changes,
    }
    return make_event(HttpRequest(**request), ROUTE, {"id": "c"})


def test_an_event_has_the_shape_of_format_2_0() -> None:
    """A request has the fields that API Gateway documents, and those that were not sent are left out."""
    event = event_of(headers=[("host", "api.example:1"), ("user-agent", "curl/8")])
    context = event.pop("requestContext")
    assert event == {
        "version": "2.0",
        "routeKey": "GET /conversations/{id}/messages",
        "rawPath": "/conversations/c/messages",
        "rawQueryString": "",
        "headers": {"host": "api.example:1", "user-agent": "curl/8"},
        "pathParameters": {"id": "c"},
        "isBase64Encoded": False,
    }
    assert context["http"] == {
        "method": "GET",
        "path": "/conversations/c/messages",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "curl/8",
    }
    assert (context["routeKey"], context["stage"]) == (event["routeKey"], "$default")
    assert (context["domainName"], context["domainPrefix"]) == ("api.example:1", "api")
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context["time"])
    assert context["timeEpoch"] > 1_700_000_000_000
    assert context["requestId"] != event_of()["requestContext"]["requestId"]


def test_repeated_headers_and_parameters_are_joined() -> None:
    """Values of one name stand in one string, separated by commas, in the order they were sent."""
    event = event_of(
        raw_query="a=1&b=2&a=3&empty=",
        query=[("a", "1"), ("b", "2"), ("a", "3"), ("empty", "")],
        headers=[("accept", "text/html"), ("x", "1"), ("accept", "*/*"), ("x", "2,3")],
    )
    assert event["rawQueryString"] == "a=1&b=2&a=3&empty="
    assert event["queryStringParameters"] == {"a": "1,3", "b": "2", "empty": ""}
    assert event["headers"] == {"accept": "text/html,*/*", "x": "1,2,3"}


def test_cookies_stand_apart() -> None:
    """Cookies are a list of their own, one entry each, and no header."""
    event = event_of(headers=[("cookie", "a=1; b=2"), ("x", "y"), ("cookie", "c=3")])
    assert event["cookies"] == ["a=1", "b=2", "c=3"]
    assert event["headers"] == {"x": "y"}
    assert "cookies" not in event_of()


@pytest.mark.parametrize(
    ("content_type", "body", "encoded"),
    [
        ("application/json", b'{"a": "\xc3\xa9"}', False),
        ("application/json; charset=utf-8", b"{}", False),
        ("text/plain", "grüße".encode(), False),
        ("", b"anything", False),
        ("application/xml", b"<a/>", False),
        ("application/octet-stream", b"text, as it happens", True),
        ("image/png", b"\x89PNG", True),
        ("application/json", b"\xff\xfe", True),
        ("text/plain", b"\xed\xa0\x80", True),
        ("", b"\x80", True),
    ],
)
def test_bodies_are_text_where_they_can_be(content_type: str, body: bytes, encoded: bool) -> None:
    """Text in UTF-8 is passed as it is; what is of another type, or not UTF-8 after all, in base64."""
    event = event_of(headers=[("content-type", content_type)] if content_type else [], body=body)
    assert event["isBase64Encoded"] is encoded
    assert event["body"] == (base64.b64encode(body).decode() if encoded else body.decode())


def test_no_body_is_no_field() -> None:
    """A request without a body has no `body`."""
    assert "body" not in event_of(headers=[("content-type", "application/json")])


@given(
    body=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="ignore")),
    content_type=st.sampled_from(["", "application/json", "text/plain; charset=latin-1", "image/png"]),
)
def test_a_function_reads_the_bytes_that_were_sent(body: bytes, content_type: str) -> None:
    """Whatever the bytes and their type are, they come out of the event as they went in."""
    event = event_of(headers=[("content-type", content_type)], body=body)
    assert Request(event, cast("Cloud", None)).body == body


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("POST", "/messages", ("post_message", {})),
        ("GET", "/conversations", ("list_conversations", {})),
        ("GET", "/conversations/", ("list_conversations", {})),
        ("GET", "/conversations/c/messages", ("list_messages", {"id": "c"})),
        ("GET", "/jobs/a%20b%2Fc%25", ("get_job", {"id": "a b/c%"})),
        ("GET", "/jobs/%C3%A9", ("get_job", {"id": "é"})),
        ("POST", "/jobs//cancel", ("cancel_job", {"id": ""})),
        ("GET", "/messages", None),
        ("PUT", "/messages", None),
        ("GET", "/jobs", None),
        ("GET", "/jobs/a/b", None),
        ("GET", "/jobs/a/cancel", None),
        ("GET", "/Jobs/a", None),
        ("GET", "/", None),
    ],
)
def test_a_route_is_found_by_method_and_path(method: str, path: str, found: tuple[str, dict[str, str]] | None) -> None:
    """A part in braces matches one segment and is decoded; everything else has to be the same."""
    matched = match(Stack().routes, method, path)
    assert (matched and (matched[0].function, matched[1])) == found


@pytest.mark.parametrize(
    ("result", "response"),
    [
        ({"statusCode": 204}, HttpResponse(204, {}, b"")),
        ({"statusCode": "202", "body": "grüße"}, HttpResponse(202, {}, "grüße".encode())),
        (
            {"statusCode": 200, "headers": {"X-A": 1, "Content-Type": "text/plain"}, "body": "a"},
            HttpResponse(200, {"x-a": "1", "content-type": "text/plain"}, b"a"),
        ),
        (
            {"statusCode": 200, "body": "/w==", "isBase64Encoded": True, "cookies": ["a=1", "b=2; Secure"]},
            HttpResponse(200, {}, b"\xff", ("a=1", "b=2; Secure")),
        ),
        ({"statusCode": 200, "headers": None, "cookies": None, "body": None}, HttpResponse(200, {}, b"")),
        ({"a": 1}, HttpResponse(200, {"content-type": "application/json"}, b'{"a": 1}')),
        ("hello", HttpResponse(200, {"content-type": "application/json"}, b'"hello"')),
        (None, HttpResponse(200, {"content-type": "application/json"}, b"null")),
        ([], HttpResponse(200, {"content-type": "application/json"}, b"[]")),
    ],
)
def test_a_result_is_a_response(result: Any, response: HttpResponse) -> None:
    """A result with a status code says everything itself; anything else is the JSON body of a 200."""
    assert read_result(result) == response


@pytest.mark.parametrize(
    "result", [{"statusCode": "soon"}, {"statusCode": 200, "body": "x", "isBase64Encoded": True}], ids=str
)
def test_a_result_that_is_no_response_is_an_error(result: Any) -> None:
    """A status that is no number, or a body that is no base64, is a `ValueError`."""
    with pytest.raises(ValueError, match=r"invalid literal|[Ii]ncorrect padding|base64"):
        read_result(result)
