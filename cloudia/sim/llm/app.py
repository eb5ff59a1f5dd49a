"""The ASGI application: which path is answered by whom."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from cloudia.errors import NotFoundError, RequestError, TimedOutError, TooLargeError
from cloudia.sim.llm.access import NoPages, key_refusal
from cloudia.sim.llm.anthropic_api import AnthropicApi
from cloudia.sim.llm.chat import Chat, State
from cloudia.sim.llm.control import Control, bad_input, failed
from cloudia.sim.llm.faults import FaultBook
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.ledger import Ledger
from cloudia.sim.llm.line import GoneError
from cloudia.sim.llm.openai_api import OpenAIApi
from cloudia.sim.llm.plays import Plays
from cloudia.sim.llm.replies import Script
from cloudia.sim.llm.responses_api import ResponsesApi
from cloudia.sim.llm.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from cloudia.sim.llm.settings import Settings
    from cloudia.sim.llm.wire import Api

__all__ = ["MODELS", "build"]

MODELS = ("sim-large", "sim-small", "gpt-5", "gpt-5-mini", "claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5")
"""The models that are listed; any other name works as well."""


def build(settings: Settings, log: Callable[[str], object], *, token: str, key: str = "", bound: str) -> ASGIApp:
    """Return the application. `log` is given one line of JSON per chat request, without any message text.

    `token` opens the control, `key` the APIs, any where it is empty; `bound` is the address that the server listens on.
    """
    clock = time.monotonic  # the event loop's own
    state = State(clock, time.time, FaultBook(clock), Ledger(clock, time.time), Script(), Plays(), settings, key)
    openai, responses, anthropic = OpenAIApi(time.time), ResponsesApi(time.time), AnthropicApi()

    def api_at(path: str) -> Api:
        """Return which API a path is of, also where it is none that is served here."""
        return anthropic if "/messages" in path else responses if path.endswith("/responses") else openai

    def api_of(request: Request) -> Api:
        """Return whose API a request means: the two share the paths of the models."""
        theirs = "anthropic-version" in request.headers or request.url.path.startswith("/v1/messages")
        return anthropic if theirs else openai

    async def models(request: Request) -> JSONResponse:
        api = api_of(request)
        refusal = key_refusal(api.key(request.headers), state.key)
        if refusal:
            return JSONResponse(api.error(401, refusal), status_code=401)
        name = request.path_params.get("name")
        return JSONResponse(api.model(name) if name else api.models(MODELS))

    def no_such_path(request: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        message = f"There is no {request.method} {request.url.path} here."
        if request.url.path.startswith("/v1/"):
            return JSONResponse(api_of(request).error(status, message), status_code=status)
        return failed(NotFoundError(message, hint="see GET /_cloudia/health"), status)

    def too_much(_: Request, error: Exception) -> JSONResponse:
        return failed(error, 413) if isinstance(error, TooLargeError) else failed(TimedOutError(str(error)), 408)

    def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestError)  # noqa: S101 - it is this one's handler
        return failed(error, error.status)

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", Chat(openai, state, log), methods=["POST"]),
            Route("/v1/responses", Chat(responses, state, log), methods=["POST"]),
            Route("/v1/messages", Chat(anthropic, state, log), methods=["POST"]),
            Route("/v1/models", models, methods=["GET"]),
            Route("/v1/models/{name:path}", models, methods=["GET"]),
            *Control(state, token).routes(),
        ],
        exception_handlers={
            HTTPException: no_such_path,
            FieldError: bad_input,
            RequestError: refused,
            TooLargeError: too_much,
            TimedOutError: too_much,
            GoneError: too_much,  # nobody reads this answer, but an exception would be logged as our own failure
        },
    )
    return NoPages(Stage(app, state, api_at, log), bound)
