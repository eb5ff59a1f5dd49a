"""API Gateway's payload format 2.0: events made of requests, responses made of results. No I/O.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudia.stack import Route

__all__ = ["HttpRequest", "HttpResponse", "make_event", "match", "read_result"]

_TEXT_TYPES = ("text/", "application/json", "application/javascript", "application/xml")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it came over the wire; names of headers in lower case."""

    method: str
    path: str
    raw_query: str
    query: Sequence[tuple[str, str]]
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str
    is_own: bool = False
    """Whether it is known to come from a process of this user."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What goes back."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()


def match(routes: Iterable[Route], method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route of a request and its path parameters, decoded; None where there is none."""
    segments = path.strip("/").split("/")
    for route in routes:
        pattern = route.path.strip("/").split("/")
        if route.method != method or len(pattern) != len(segments):
            continue
        parameters = {}
        for expected, found in zip(pattern, segments, strict=True):
            if expected.startswith("{"):
                parameters[expected.strip("{}")] = unquote(found)
            elif expected != unquote(found):
                break
        else:
            return route, parameters
    return None


def make_event(request: HttpRequest, route: Route, parameters: dict[str, str]) -> dict[str, Any]:
    """Return the event that API Gateway would call the function with."""
    now = time.time()
    route_key = f"{route.method} {route.path}"
    headers = _joined((name, value) for name, value in request.headers if name != "cookie")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": request.path,
        "rawQueryString": request.raw_query,
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": headers.get("host", ""),
            "domainPrefix": headers.get("host", "").split(".")[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": route_key,
            "stage": "$default",
            "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if request.is_own:  # As a Lambda authorizer would say it: what stands here no client can write.
        event["requestContext"]["authorizer"] = {"lambda": {"is_own": True}}
    cookies = [value for name, value in request.headers if name == "cookie"]
    if cookies:
        event["cookies"] = [part.strip() for cookie in cookies for part in cookie.split(";")]
    if request.query:
        event["queryStringParameters"] = _joined(request.query)
    if parameters:
        event["pathParameters"] = parameters
    if request.body:
        event["body"], event["isBase64Encoded"] = _body(request.body, headers.get("content-type", ""))
    return event


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs as a dictionary; the values of one name are joined by commas, as API Gateway does."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _body(body: bytes, content_type: str) -> tuple[str, bool]:
    if not content_type or content_type.startswith(_TEXT_TYPES):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def read_result(result: Any) -> HttpResponse:
    """Return the response that a function's result stands for. `ValueError` where it is none."""
    if not isinstance(result, dict) or "statusCode" not in result:
        # Format 2.0 infers a response from anything else: it is the body of a 200.
        return HttpResponse(200, {"content-type": "application/json"}, json.dumps(result).encode())
    body = result.get("body") or ""
    raw = base64.b64decode(body) if result.get("isBase64Encoded") else str(body).encode()
    headers = {str(name).lower(): str(value) for name, value in (result.get("headers") or {}).items()}
    return HttpResponse(int(result["statusCode"]), headers, raw, tuple(result.get("cookies") or ()))
