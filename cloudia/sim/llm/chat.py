"""One chat request from its first byte to its outcome: read it, check it, decide its fate, record it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudia.errors import TimedOutError, TooLargeError
from cloudia.sim.llm import answers, fields
from cloudia.sim.llm.access import key_refusal
from cloudia.sim.llm.delivery import Delivery
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.kept import Kept
from cloudia.sim.llm.line import GoneError, Line
from cloudia.sim.llm.pacing import Pace
from cloudia.sim.llm.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from cloudia.sim.llm.faults import Fault, FaultBook
    from cloudia.sim.llm.ledger import Ledger, Record
    from cloudia.sim.llm.plays import Plays
    from cloudia.sim.llm.prompts import Prompt, Reply
    from cloudia.sim.llm.replies import Script
    from cloudia.sim.llm.wire import Api

__all__ = ["MAX_BODY", "Chat", "State"]

MAX_BODY = 8 * 1024 * 1024  # bytes of a request


@dataclass(slots=True)
class State:
    """What the chat endpoints and the control endpoint share.

    `clock` is the event loop's: seconds that only grow; `wall` has epoch seconds.
    """

    clock: Callable[[], float]
    wall: Callable[[], float]
    faults: FaultBook
    ledger: Ledger
    script: Script
    plays: Plays
    settings: Settings = field(default_factory=Settings)
    key: str = ""
    """What the APIs' clients must bear; empty where any key will do."""
    kept: Kept = field(default_factory=Kept)


class _RefusedError(Exception):
    """The request is wrong, and the client is told so."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param


class Chat:
    """The ASGI endpoint of one vendor's chat call. `log` is given one line of JSON per request."""

    def __init__(self, api: Api, state: State, log: Callable[[str], object]) -> None:
        self._api = api
        self._state = state
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        line = Line(scope, receive, send)
        record = self._state.ledger.begin(self._api.name, line.headers)
        try:
            await self._serve(line, record)
        except GoneError:
            pass  # its record says `disconnected` from the start
        finally:
            line.close()
            self._log(json.dumps(self._state.ledger.end(record)))

    async def _serve(self, line: Line, record: Record) -> None:
        settings = self._state.settings
        arrived = self._state.clock()
        try:
            prompt = await self._asked(line, record)
        except _RefusedError as refused:
            record.outcome = "refused"
            error = self._api.error(refused.status, refused.message, refused.param)
            await line.answer(refused.status, error, {self._api.id_header: record.request_name})
            return
        line.watch()
        self._state.ledger.asked(record, prompt.model, stream=prompt.stream)
        fault = self._state.faults.strike(self._api.name, prompt.model, settings.seed)
        factor = fault.factor if fault and fault.kind == "slow" else 1.0
        pace = Pace.of(arrived, settings.ttft * factor, settings.tps / factor)
        delivery = Delivery(self._api, line, record, prompt, pace)
        if fault:
            record.outcome = fault.kind
            await self._fail(delivery, fault)
        else:
            await delivery.answer(self._reply(prompt))
            record.outcome = "answered"

    async def _asked(self, line: Line, record: Record) -> Prompt:
        try:
            body = await line.body(MAX_BODY)
        except TooLargeError as error:
            raise _RefusedError(413, error.message) from error
        except TimedOutError as error:
            raise _RefusedError(408, error.message) from error
        refusal = key_refusal(self._api.key(line.headers), self._state.key)
        if refusal:
            raise _RefusedError(401, refusal)
        try:
            prompt = self._api.parse(fields.decode(body))
        except FieldError as error:
            raise _RefusedError(400, error.problem, error.name or None) from error
        self._state.kept.add(record.sequence, prompt, body)
        return prompt

    def _reply(self, prompt: Prompt) -> Reply:
        text = self._state.script.take()
        seed = self._state.settings.seed
        return answers.answer(prompt, seed) if text is None else answers.scripted(prompt, seed, text)

    async def _fail(self, delivery: Delivery, fault: Fault) -> None:
        match fault.kind:
            case "status" | "timeout":
                await delivery.fail(fault)
            case "hang":
                await delivery.hang()
            case "garbage":
                await delivery.garbage()
            case "slow":
                await delivery.answer(self._reply(delivery.prompt))
            case "cut" if delivery.prompt.stream:
                await delivery.cut_stream(self._reply(delivery.prompt), fault.after_tokens)
            case "cut":
                await delivery.cut(fault.after_tokens)
