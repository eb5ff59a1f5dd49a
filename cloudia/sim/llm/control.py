"""The control endpoint, `/_cloudia/`: JSON in, JSON out; a refused change changes nothing.

Each request bears the control's token (`Authorization: Bearer`), and a POST is `application/json`; whoever has no token is
told by `health` that the provider lives.

    GET    /_cloudia/health     {"status": "ok", "pid", "uptime", "in_flight"}
    GET    /_cloudia/requests   {"total", "in_flight", "by_api", "by_outcome", "records"}: chat requests that ended
    DELETE /_cloudia/requests   {"deleted": total}; one that is under way is not counted when it ends
    GET    /_cloudia/prompts    {"keep", "prompts"}: what the last requests said, where that is kept, each as {"sequence",
                                "messages": [{"role", "content"}], "tools": names, "body": as it was sent}
    POST   /_cloudia/prompts    {"keep"}: of how many requests from now on, at first 0; {"keep"}
    DELETE /_cloudia/prompts    {"deleted": how many}
    GET    /_cloudia/faults     {"faults": [...]}: each as it was sent, with "id", "struck", "remaining_count" and
                                "remaining_seconds" (null: without end)
    POST   /_cloudia/faults     one fault (see `faults.Fault`); 201 and the fault as GET lists it
    DELETE /_cloudia/faults     {"deleted": how many}
    GET    /_cloudia/settings   {"ttft", "tps", "seed"}
    POST   /_cloudia/settings   any of them; the settings as they are now
    GET    /_cloudia/replies    {"replies": [{"text", "times"}]}
    POST   /_cloudia/replies    {"text", "times": 1}; 201 and {"queued": how many entries}
    DELETE /_cloudia/replies    {"deleted": how many entries}
    GET    /_cloudia/cases      {"cases": [{"name", "turns"}]}: those that no job has taken yet
    POST   /_cloudia/cases      {"case", "times": 1}, a case as docs/provider-cases.md has it; 201 and {"name", "queued": turns}
    DELETE /_cloudia/cases      {"deleted": how many turns}

Errors are `{"error": {"code", "message", "hint"}}`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cloudia.errors import InvalidRequestError, UnauthorizedError
from cloudia.sim.llm import faults, fields, settings
from cloudia.sim.llm.access import bears
from cloudia.sim.llm.line import read_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from cloudia.errors import CloudiaError
    from cloudia.sim.llm.chat import State

__all__ = ["Control", "bad_input", "failed"]

_MAX_BODY = 1024 * 1024  # bytes of a request
_MAX_CASE = 8 * 1024 * 1024  # of one that brings a case


class Control:
    """The endpoints that read and change `state`, for who bears `token`."""

    def __init__(self, state: State, token: str) -> None:
        self._state = state
        self._token = token
        self._began = state.clock()

    def routes(self) -> list[Route]:
        """Return the routes, a method each."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "requests", self._requests),
            ("DELETE", "requests", self._reset),
            ("GET", "prompts", self._prompts),
            ("POST", "prompts", self._keep_prompts),
            ("DELETE", "prompts", self._clear_prompts),
            ("GET", "faults", self._faults),
            ("POST", "faults", self._add_fault),
            ("DELETE", "faults", self._clear_faults),
            ("GET", "settings", self._settings),
            ("POST", "settings", self._change_settings),
            ("GET", "replies", self._replies),
            ("POST", "replies", self._add_reply),
            ("DELETE", "replies", self._clear_replies),
            ("GET", "cases", self._cases),
            ("POST", "cases", self._add_case),
            ("DELETE", "cases", self._clear_cases),
        ]
        return [
            Route("/_cloudia/health", self._health, methods=["GET"]),
            *(Route(f"/_cloudia/{name}", self._guarded(work), methods=[method]) for method, name, work in table),
        ]

    def _guarded(self, work: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            if not bears(request.headers, self._token):
                raise UnauthorizedError("the control's token is missing or wrong", hint="Send it as a bearer token.")
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if request.method == "POST" and kind != "application/json":
                return failed(InvalidRequestError("the body is not application/json", hint="Say so."), 415)
            return await work(request)

        return endpoint

    async def _health(self, request: Request) -> JSONResponse:
        if not bears(request.headers, self._token):
            return JSONResponse({"status": "ok"})
        uptime = round(self._state.clock() - self._began, 3)
        in_flight = self._state.ledger.in_flight
        return JSONResponse({"status": "ok", "pid": os.getpid(), "uptime": uptime, "in_flight": in_flight})

    async def _requests(self, _: Request) -> JSONResponse:
        return JSONResponse(self._state.ledger.to_json())

    async def _reset(self, _: Request) -> JSONResponse:
        return JSONResponse({"deleted": self._state.ledger.reset()})

    async def _prompts(self, _: Request) -> Response:
        return Response(self._state.kept.to_json(), media_type="application/json")

    async def _keep_prompts(self, request: Request) -> JSONResponse:
        self._state.kept.set(await _body(request))
        return JSONResponse({"keep": self._state.kept.most})

    async def _clear_prompts(self, _: Request) -> JSONResponse:
        return JSONResponse({"deleted": self._state.kept.clear()})

    async def _faults(self, _: Request) -> JSONResponse:
        return JSONResponse({"faults": self._state.faults.entries()})

    async def _add_fault(self, request: Request) -> JSONResponse:
        fault = faults.parse(await _body(request))
        return JSONResponse(self._state.faults.add(fault), status_code=201)

    async def _clear_faults(self, _: Request) -> JSONResponse:
        return JSONResponse({"deleted": self._state.faults.clear()})

    async def _settings(self, _: Request) -> JSONResponse:
        return JSONResponse(self._state.settings.to_json())

    async def _change_settings(self, request: Request) -> JSONResponse:
        data = await _body(request)
        self._state.settings = settings.changed(self._state.settings, data)
        return JSONResponse(self._state.settings.to_json())

    async def _replies(self, _: Request) -> JSONResponse:
        return JSONResponse({"replies": self._state.script.entries()})

    async def _add_reply(self, request: Request) -> JSONResponse:
        self._state.script.add(await _body(request))
        return JSONResponse({"queued": len(self._state.script.entries())}, status_code=201)

    async def _clear_replies(self, _: Request) -> JSONResponse:
        return JSONResponse({"deleted": self._state.script.clear()})

    async def _cases(self, _: Request) -> JSONResponse:
        return JSONResponse({"cases": self._state.plays.entries()})

    async def _add_case(self, request: Request) -> JSONResponse:
        name = self._state.plays.add(await _body(request, most=_MAX_CASE))
        return JSONResponse({"name": name, "queued": self._state.plays.waiting}, status_code=201)

    async def _clear_cases(self, _: Request) -> JSONResponse:
        return JSONResponse({"deleted": self._state.plays.clear()})


async def _body(request: Request, *, most: int = _MAX_BODY) -> dict[str, Any]:
    return fields.decode(await read_body(request.receive, most))


def failed(error: CloudiaError, status: int) -> JSONResponse:
    """Answer with an error in cloudia's own shape."""
    return JSONResponse(error.to_json(), status_code=status)


def bad_input(_: Request, error: Exception) -> JSONResponse:
    """Answer a FieldError, which left everything as it was."""
    refused = InvalidRequestError(str(error), hint="nothing was changed; cloudia/sim/llm/control.py lists the fields")
    return failed(refused, refused.status)
