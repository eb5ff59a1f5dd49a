"""The stage: where a case is to be played, it answers whatever is asked and under whatever path, to the byte."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

from cloudia.errors import TimedOutError, TooLargeError
from cloudia.sim.llm import fields
from cloudia.sim.llm.chat import MAX_BODY
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.line import GoneError, Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from cloudia.sim.llm.case import Exchange
    from cloudia.sim.llm.chat import State
    from cloudia.sim.llm.ledger import Record
    from cloudia.sim.llm.plays import Turn
    from cloudia.sim.llm.wire import Api

__all__ = ["Stage"]


class Stage:
    """Plays the cases of `state` to requests before `app` sees them. `log` is given one line of JSON for each.

    `api_at` says which API a path is of.
    """

    def __init__(self, app: ASGIApp, state: State, api_at: Callable[[str], Api], log: Callable[[str], object]) -> None:
        self._app = app
        self._state = state
        self._api_at = api_at
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Play to a request, or hand it on."""
        turn = None
        if scope["type"] == "http" and scope["method"] == "POST" and not scope["path"].startswith("/_cloudia/"):
            api = self._api_at(scope["path"])
            turn = self._state.plays.take(api.name, Headers(scope=scope).get("x-cloudia-job-id"))
        if turn:
            await self._play(turn, api, Line(scope, receive, send), _path(scope))
        else:
            await self._app(scope, receive, send)

    async def _play(self, turn: Turn, api: Api, line: Line, path: str) -> None:
        record = self._state.ledger.begin(api.name, line.headers)
        record.outcome = "played"
        try:
            body = await self._asked(line, record, api)
            line.watch()
            await self._answer(line, turn.answer(api.name, body, path))
        except (GoneError, TimedOutError, TooLargeError):
            await line.hang_up()
        finally:
            line.close()
            self._log(json.dumps(self._state.ledger.end(record)))

    async def _asked(self, line: Line, record: Record, api: Api) -> dict[str, Any]:
        """Return what a request says, `{}` where that is no JSON object; the case answers all the same."""
        raw = await line.body(MAX_BODY)
        try:
            body = fields.decode(raw)
        except FieldError:
            return {}
        model = body.get("model")
        self._state.ledger.asked(record, model if isinstance(model, str) else "", stream=body.get("stream") is True)
        with contextlib.suppress(FieldError):  # No request as the vendor knows it: what it said is not told.
            self._state.kept.add(record.sequence, api.parse(body), raw)
        return body

    async def _answer(self, line: Line, exchange: Exchange) -> None:
        clock = self._state.clock
        await line.until(clock() + exchange.wait)
        if exchange.status:
            await line.take_over()
            await line.put(exchange.head(self._state.wall()))
            for piece in exchange.writes():
                if isinstance(piece, float):
                    await line.until(clock() + piece)
                else:
                    await line.put(piece)
        if exchange.end == "chunked_end" and exchange.status:
            await line.hand_back()
        else:
            await line.hang_up(reset=exchange.end == "reset")


def _path(scope: Scope) -> str:
    """Return the path as it was asked for, with its query."""
    path: str = scope["raw_path"].decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path
