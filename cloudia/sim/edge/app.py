"""The edge as an ASGI application: routes to functions, the web page, and what the page must know."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from cloudia import telemetry
from cloudia.cloud.identity import OPERATOR, bearer, issue_token
from cloudia.errors import CloudiaError, ForbiddenError, InvalidRequestError, NotFoundError, RequestError, TooLargeError
from cloudia.hosts import check_host, is_browser
from cloudia.sim.edge.access import PageAccess
from cloudia.sim.edge.events import HttpRequest, HttpResponse, make_event, match, read_result
from cloudia.sim.edge.functions import Functions
from cloudia.sim.edge.parts import read_parts
from cloudia.sim.edge.peer import is_own_process
from cloudia.sim.ports import LOOPBACK
from cloudia.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cloudia.settings import Settings
    from cloudia.sim.edge.page_code import PageCode
    from cloudia.stack import Route as StackRoute

__all__ = ["make_app"]

_MAX_HEAD = 10_240  # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
_MAX_BODY = (
    6 * 1024 * 1024
)  # a function's payload: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_DEADLINE_SECONDS = 30.0  # an HTTP API's: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_THREADS = 32
_TOKEN_SECONDS = 12 * 3600
_OPERATOR_SECONDS = 3600  # The dashboard asks again.
_COOKIE_SECONDS = 30 * 24 * 3600

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


class Edge:
    """Calls functions on a pool of threads, as Lambda runs them at the same time."""

    def __init__(
        self, settings: Settings, token_secret: str, page_secret: str, page_code: PageCode, run_file: Path
    ) -> None:
        self._settings = settings
        self._token_secret = token_secret
        self._access = PageAccess(page_secret, settings.api_port)
        self._page_code = page_code
        self._run_file = run_file
        self._routes = Stack(settings.stack_name, operator=True).routes
        self._functions = Functions()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="function")

    async def call(self, request: Request) -> Response:
        """Answer a request of the HTTP API."""
        found = match(self._routes, request.method, request.scope["raw_path"].decode("ascii"))
        if found is None:
            return await _no_route()
        route, parameters = found
        try:
            event = await _event(request, route, parameters)
        except RequestError as error:
            return _error(error.status, error)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                response = await loop.run_in_executor(self._threads, self._invoke, route.function, event)
        except TimeoutError:
            return _error(
                503, CloudiaError("the function did not answer in time", hint="See its log.", code="timed_out")
            )
        except Exception as error:  # noqa: BLE001 - user code: whatever it raises is a 500, as from API Gateway
            telemetry.log("function failed", level=logging.ERROR, function=route.function, exc_info=error)
            return _error(500, CloudiaError("the function failed", hint="See `cloudia logs api`.", code="internal"))
        answer = Response(response.body, response.status, response.headers)
        for cookie in response.cookies:
            answer.headers.append("set-cookie", cookie)
        return answer

    def _invoke(self, function: str, event: dict[str, object]) -> HttpResponse:
        return read_result(self._functions.handler(function)(event, None))

    async def page_session(self, request: Request) -> Response:
        """Trade the code of the page's address, once, for a cookie and `{"key"}`, see `access.py`."""
        access = self._access
        if not self._page_code.spend(bearer(request.headers.get("authorization")) or ""):
            return _not_opened()
        answer = Response(
            json.dumps({"key": access.key}), headers={"cache-control": "no-store"}, media_type="application/json"
        )
        answer.set_cookie(
            access.cookie_name,
            access.cookie,
            max_age=_COOKIE_SECONDS,
            path="/page",
            httponly=True,
            samesite="strict",
        )
        return answer

    async def page_config(self, request: Request) -> Response:
        """Tell the web page where the gateway is, with a token of the local user; only to one that was opened by its code."""
        if not self._access.knows(request.cookies, request.headers.get("x-cloudia", "")):
            return _not_opened()
        settings = self._settings
        config = {
            "api_url": settings.api_url if settings.up_functions == "zip" else "",
            "websocket_url": settings.websocket_url,
            "user": settings.auth_user,
            "token": self._page_token(),
            "max_content_bytes": settings.limits_content_bytes,
        }
        return Response(json.dumps(config), headers={"cache-control": "no-store"}, media_type="application/json")

    async def page_operator(self, request: Request) -> Response:
        """Give the dashboard a token of the local user as the operator; as `page_config`, and never to the chat page."""
        if not self._access.knows(request.cookies, request.headers.get("x-cloudia", "")):
            return _not_opened()
        told = {"token": self._page_token(OPERATOR), "user": self._settings.auth_user}
        return Response(json.dumps(told), headers={"cache-control": "no-store"}, media_type="application/json")

    async def page_parts(self, request: Request) -> Response:
        """Tell the dashboard the parts of the stack that runs here, as `run.json` has them."""
        if not self._access.knows(request.cookies, request.headers.get("x-cloudia", "")):
            return _not_opened()
        parts = await asyncio.to_thread(read_parts, self._run_file)
        return Response(
            json.dumps({"parts": parts}), headers={"cache-control": "no-store"}, media_type="application/json"
        )

    def _page_token(self, role: str = "") -> str:
        """Return a token of the local user; none where the tokens are another's to sign: then someone signs in."""
        settings = self._settings
        if settings.auth_jwks_url:
            return ""
        return issue_token(
            self._token_secret,
            settings.auth_user,
            seconds=_OPERATOR_SECONDS if role else _TOKEN_SECONDS,
            issuer=settings.auth_issuer,
            audience=settings.auth_audience,
            role=role,
        )


async def openapi(_request: Request) -> Response:
    """Serve the HTTP API's description."""
    document = files("cloudia.functions").joinpath("openapi.json").read_bytes()
    return Response(document, media_type="application/json")


class _Pages(StaticFiles):
    """The web page's files, with a policy that runs no script but ours, and lets it reach the HTTP API."""

    def __init__(self, *origins: str) -> None:
        sources = ("'self'", *origins)
        super().__init__(packages=[("cloudia", "web")], html=True)
        self._headers = {
            **_PAGE_HEADERS,
            "content-security-policy": f"{_POLICY}; connect-src {' '.join(sources)} ws: wss:",
        }

    async def get_response(self, path: str, scope: object) -> Response:
        response = await super().get_response(path, scope)  # type: ignore[arg-type]
        response.headers.update(self._headers)
        return response

    async def dashboard(self, request: Request) -> Response:
        """Serve the page's other face, for whoever runs the stack."""
        return await self.get_response("dashboard.html", request.scope)


class _Front:
    """Refuses what gets to no route: who asks by a foreign name, and a head that API Gateway would not take."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check_host(Headers(scope=scope).getlist("host"), LOOPBACK)
        except RequestError as error:
            return await _error(error.status, error)(scope, receive, send)
        line = len(f"{scope['method']}  HTTP/1.1") + len(scope["raw_path"]) + len(scope["query_string"])
        if line + sum(len(value) for _, value in scope["headers"]) > _MAX_HEAD:
            too_large = TooLargeError("the request line and the headers are over 10,240 bytes", hint="Send less.")
            return await _error(431, too_large)(scope, receive, send)
        return await self._app(scope, receive, send)


def make_app(
    settings: Settings, token_secret: str, *, page_secret: str, page_code: PageCode, run_file: Path
) -> ASGIApp:
    """Return the application. `run_file` says what parts the stack has, where there is one."""
    edge = Edge(settings, token_secret, page_secret, page_code, run_file)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    elsewhere = settings.up_functions == "zip"
    api = urlsplit(settings.api_url)
    stack = Stack(settings.stack_name)
    # Functions that run as zips are the engine's; the operator's stays here, where the dashboard finds it.
    routes = (*(() if elsewhere else stack.routes), *stack.operator_routes)
    tops = dict.fromkeys(route.path.strip("/").split("/")[0] for route in routes)
    pages = _Pages(*((f"{api.scheme}://{api.netloc}",) if elsewhere else ()))
    app = Starlette(
        routes=[
            Route("/page/session", edge.page_session, methods=["POST"]),
            Route("/page/config", edge.page_config),
            Route("/page/operator", edge.page_operator),
            Route("/page/parts", edge.page_parts),
            Route("/openapi.json", openapi),
            *(Route(f"/{top}", edge.call, methods=methods) for top in tops),
            *(Route(f"/{top}/{{rest:path}}", edge.call, methods=methods) for top in tops),
            Route("/dashboard", pages.dashboard),
            Mount("/", pages),
        ],
        exception_handlers={404: _no_route, 405: _no_route},
    )
    return _Front(app)


async def _event(request: Request, route: StackRoute, parameters: dict[str, str]) -> dict[str, object]:
    """Return a request as API Gateway hands it to a function. `RequestError` for one that it would refuse."""
    try:
        body = await _body(request)
    except ClientDisconnect as error:
        raise InvalidRequestError("the request broke off", code="broken_off") from error  # Nobody reads it.
    return make_event(
        HttpRequest(
            method=request.method,
            path=request.url.path,
            raw_query=request.url.query,
            query=request.query_params.multi_items(),
            headers=request.headers.items(),
            body=body,
            source_ip=request.client.host if request.client else "",
            is_own=route.function == "health" and await asyncio.to_thread(_is_own, request),
        ),
        route,
        parameters,
    )


def _is_own(request: Request) -> bool:
    """Tell whether a tool of the developer's asks, and no page of their browser."""
    theirs, ours = request.scope["client"], request.scope["server"]
    return not is_browser(request.headers) and is_own_process(tuple(theirs), tuple(ours))


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise TooLargeError("the body is over 6 MB", hint="That is what a function takes.", code="body_too_large")
    return bytes(body)


async def _no_route(*_: object) -> Response:
    """Answer what is neither a route nor a file; as in API Gateway, a wrong method is no route either."""
    return _error(404, NotFoundError("there is no such route", hint="openapi.json lists them.", code="no_route"))


def _not_opened() -> Response:
    hint = "`cloudia status` prints an address that opens it; each works once, in one browser."
    return _error(403, ForbiddenError("this page was not opened by its whole address", hint=hint, code="not_local"))


def _error(status: int, error: CloudiaError) -> Response:
    return Response(json.dumps(error.to_json()), status, media_type="application/json")
