"""The configured LLM: which provider answers, with its breaker, a quick retry, and the deadlines of a call."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import tenacity

from cloudia import telemetry
from cloudia.telemetry.events import BreakerChanged, RouteSkipped, RouteState
from cloudia.worker.breaker import Breaker
from cloudia.worker.call_report import CallReport
from cloudia.worker.context import BYTES_A_TOKEN, alternating, shortened, size
from cloudia.worker.cost import Spent
from cloudia.worker.providers.base import (
    Alive,
    ChatMessage,
    ChatRequest,
    Finish,
    LlmUnavailableError,
    NoAnswerError,
    Piece,
    ProviderError,
    Thinking,
    ToolCall,
    Unsaid,
    Usage,
    is_object,
)
from cloudia.worker.tools import call_tools

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from cloudia.settings import Settings
    from cloudia.telemetry.events import AttemptIds, BreakerState, SkippedFor
    from cloudia.worker.breaker import Limits, Permit
    from cloudia.worker.providers.base import Cause, FinishReason, Provider, Tool

__all__ = ["Asked", "Llm", "LlmCall", "Route"]

_QUICK_RETRIES = 1
_MENDINGS = 6
"""Requests of one call where refusals tell how: without one field more, with less context, or of the fallback."""
_OF_THE_ROUTE: frozenset[Cause | None] = frozenset({"quota", "key", "forbidden", "model", "url", "tools"})
"""Causes of a refusal for which another route may answer: they are no fault of what was asked."""
_QUICK_WAIT_SECONDS = (0.05, 0.25)


class Route:
    """One provider with one model: its breaker, and the time until which it asked to be left alone."""

    def __init__(self, provider: Provider, model: str, limits: Limits, *, url: str = "") -> None:
        self.provider = provider
        self.model = model
        self.url = url
        """Where the provider is asked, if not at its own URL."""
        self.opened = 0
        self._limits = limits
        self.breaker = self._closed()
        self._cool_at = 0.0

    @property
    def cooldown(self) -> float:
        """Seconds for which the provider asked not to be called, by a 429 with `Retry-After`."""
        return max(0.0, self._cool_at - time.monotonic())

    def cool_down(self, seconds: float) -> None:
        """Leave the provider alone for a while."""
        self._cool_at = max(self._cool_at, time.monotonic() + seconds)

    def forget(self) -> None:
        """Forget what the provider's answers have taught: pause, errors, and how it is asked."""
        self.breaker, self._cool_at = self._closed(), 0.0
        self.provider.forget()

    def to_json(self) -> dict[str, Any]:
        """Return what `status` shows."""
        return {
            "provider": self.provider.name,
            "model": self.model,
            "breaker": self.breaker.state,
            "errors": self.breaker.errors,
            "opened": self.opened,
            "retry_after": round(max(self.breaker.retry_after, self.cooldown), 1),
        }

    def _closed(self) -> Breaker:
        return Breaker(f"{self.provider.name} {self.model}", self._limits, on_change=self._changed)

    def _changed(self, _name: str, state: BreakerState) -> None:
        self.opened += state == "open"
        telemetry.notify(
            BreakerChanged(
                at=time.time(), provider=self.provider.name, model=self.model, state=state, opened=self.opened
            )
        )

    def tell_skipped(self, reason: SkippedFor) -> None:
        """Tell listeners that this route was not asked."""
        if telemetry.listening():
            telemetry.notify(RouteSkipped(at=time.time(), provider=self.provider.name, model=self.model, reason=reason))

    @property
    def sample(self) -> RouteState:
        """How it is now, for listeners."""
        breaker = self.breaker
        return RouteState(provider=self.provider.name, model=self.model, state=breaker.state, errors=breaker.errors)


Asked: TypeAlias = tuple[Route, ChatRequest]
"""A request, and who is asked."""


@dataclass(frozen=True, slots=True)
class _Manner:
    """How each call is made; times in seconds."""

    system: str
    max_tokens: int
    first_token: float
    gap: float
    first_text: float
    quick_retry: float
    tool: float
    tool_rounds: int


class Llm:
    """The LLM of a process: the route that is meant, and the one to fall back to. `call` makes the handle of an attempt."""

    def __init__(self, routes: Sequence[Route], settings: Settings) -> None:
        self.routes = tuple(routes)
        self._manner = _Manner(
            settings.llm_system_prompt,
            settings.llm_max_tokens,
            settings.llm_first_token_seconds,
            settings.llm_gap_seconds,
            settings.llm_first_text_seconds,
            settings.llm_quick_retry_seconds,
            settings.llm_tool_seconds,
            settings.llm_tool_rounds,
        )

    def call(
        self, *, job_id: str, attempt: int, model: str | None = None, told_as: AttemptIds | None = None
    ) -> LlmCall:
        """Return the handle of one attempt; it counts what the attempt uses. `model` is in place of the configured one.

        Listeners are told of its requests as those of `told_as`; of None they are not.
        """
        headers = {"x-cloudia-job-id": job_id, "x-cloudia-attempt": str(attempt)}
        return LlmCall(self.routes, self._manner, headers, model, told_as)

    def forget(self) -> None:
        """Forget what answers have taught of each route, as a process that begins anew."""
        for route in self.routes:
            route.forget()

    async def aclose(self) -> None:
        """Close the providers' connections."""
        for route in self.routes:
            await route.provider.aclose()


class LlmCall:
    """The LLM as one attempt sees it, with breaker, retry and accounting."""

    def __init__(
        self,
        routes: Sequence[Route],
        manner: _Manner,
        headers: dict[str, str],
        model: str | None = None,
        told_as: AttemptIds | None = None,
    ) -> None:
        self._told_as = told_as
        self._routes = routes
        self._model = model
        self._manner = manner
        self._headers = headers
        self._requests: list[_Request] = []
        self.route = routes[0]
        """The route that was called last."""
        self._passed: dict[Route, str] = {}
        """The routes that were passed over for the next one, each with why it was at first."""
        self.on_sign: Callable[[Piece], None] = lambda _piece: None
        """Called with each piece: whatever it is, the provider lives."""
        self.on_request: Callable[[Asked], Awaitable[None]] | None = None
        """Awaited before each request; what it raises is raised in its place."""

    @property
    def calls(self) -> int:
        """Requests made. Those beyond the first of an answer may have been paid in vain."""
        return len(self._requests)

    @property
    def switches(self) -> list[str]:
        """The routes that were passed over for the next one, each with the reason: `openai gpt-5-mini: breaker_open`."""
        return [f"{route.provider.name} {route.model}: {reason}" for route, reason in self._passed.items()]

    @property
    def model(self) -> str:
        """The model that was asked last. A fallback has its own."""
        return self._model if self._model and self.route is self._routes[0] else self.route.model

    @property
    def finish(self) -> FinishReason | None:
        """Why the last answer ended; None where it did not."""
        return self._requests[-1].finish if self._requests else None

    @property
    def usage(self) -> Usage | None:
        """What providers told of all requests together, also of those that failed; None until one has told any."""
        told = [request.usage for request in self._requests if request.usage]
        return sum(told[1:], start=told[0]) if told else None

    @property
    def spent(self) -> list[Spent]:
        """What each request has used, also of those that failed; one to which nothing was said is not paid."""
        return [spent for request in self._requests if (spent := request.spent)]

    @property
    def spent_by_those_over(self) -> list[Spent]:
        """The same of the requests that are over."""
        return [spent for request in self._requests if request.over and (spent := request.spent)]

    @property
    def under_way(self) -> list[Asked]:
        """The requests that are not over."""
        return [(request.route, request.asked) for request in self._requests if not request.over]

    async def stream(self, messages: Sequence[ChatMessage], tools: Sequence[Tool] = ()) -> AsyncIterator[str]:
        """Yield the answer to `messages` as it comes. Tools that the LLM calls are called, and it goes on with their results.

        Raises `LlmUnavailableError` at once where each breaker is open; `ProviderError` where a call failed, also by a
        deadline; `NoAnswerError` where it ended with no text. A blip before the first text is tried again once.
        """
        chat = alternating(messages)
        answered = False
        for rounds_left in range(self._manner.tool_rounds, -1, -1):
            said: list[str] = []
            calls: list[ToolCall] = []
            async with aclosing(self._pieces(chat, tuple(tools))) as pieces:
                async for piece in pieces:
                    match piece:
                        case str():
                            said.append(piece)
                            yield piece
                        case Unsaid():
                            said.clear()
                        case _:
                            calls.append(piece)
            answered = answered or any(text.strip() for text in said)
            if not calls:
                if not answered:
                    raise _no_answer(self.finish)
                return
            if self.finish == "length" and not all(is_object(call.arguments) for call in calls):
                raise NoAnswerError("length", "llm.max_tokens cut the arguments of a tool off: raise it.")
            if not rounds_left:
                break
            chat.append(ChatMessage("assistant", "".join(said), tool_calls=tuple(calls)))
            results = await call_tools(tools, calls, seconds=self._manner.tool, job=self._told_as)
            chat.extend(
                ChatMessage("tool", result, tool_call_id=call.id) for call, result in zip(calls, results, strict=True)
            )
        rounds = self._manner.tool_rounds
        raise ProviderError(
            "rejected", f"the LLM still called tools after {rounds} rounds", advice="llm.tool_rounds bounds them."
        )

    async def _pieces(
        self, chat: list[ChatMessage], tools: tuple[Tool, ...]
    ) -> AsyncGenerator[str | Unsaid | ToolCall]:
        """Yield the text and the calls that one call of the provider brings, and what of the text was none."""
        first, request = await self._begin(chat, tools)
        try:
            async with aclosing(request.pieces):
                for piece in first:
                    if isinstance(piece, str | ToolCall):
                        yield piece
                while (further := await request.next()) is not None:
                    if isinstance(further, str | Unsaid | ToolCall) and further:
                        yield further
        except ProviderError as error:
            if error.kind == "unavailable":
                request.route.breaker.fail()
            _cool(request.route, error)
            request.report.over(error)
            raise
        except BaseException as error:
            request.report.over(error)
            raise
        finally:
            request.over = True
        request.report.over()

    async def _begin(self, chat: list[ChatMessage], tools: tuple[Tool, ...]) -> tuple[list[Piece], _Request]:
        """Return the first pieces of an answer, and the request that brings the others."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_blip),
            stop=tenacity.stop_after_attempt(1 + _QUICK_RETRIES) | tenacity.stop_after_delay(self._manner.quick_retry),
            wait=tenacity.wait_random(*_QUICK_WAIT_SECONDS),
            reraise=True,
        )
        return await retrying(self._admitted, chat, tools)

    async def _admitted(self, chat: list[ChatMessage], tools: tuple[Tool, ...]) -> tuple[list[Piece], _Request]:
        """Make a request, and another one where the refusal tells how it is to be made. `chat` loses what was too much."""
        left = [*self._routes]
        refused: ProviderError | None = None
        for _ in range(_MENDINGS + len(self._routes)):
            try:
                route, permit = self._enter(left)
            except (ProviderError, LlmUnavailableError):
                if refused:
                    break
                raise
            try:
                return await self._open(route, permit, chat, tools)
            except ProviderError as error:
                refused = error
                if error.mended:
                    telemetry.log("left out of requests from now on", level=logging.WARNING, field=error.field)
                elif error.cause == "context" and (shorter := shortened(chat)):
                    telemetry.log("context shortened", level=logging.WARNING, before=len(chat), after=len(shorter))
                    chat[:] = shorter
                elif (error.kind == "rate_limited" or error.cause in _OF_THE_ROUTE) and route is not left[-1]:
                    self._pass_over(route, error.cause or error.kind)
                    left = left[left.index(route) + 1 :]
                else:
                    raise
        assert refused  # noqa: S101 - the loop's other ends return or raise
        raise refused

    async def _open(
        self, route: Route, permit: Permit, chat: list[ChatMessage], tools: tuple[Tool, ...]
    ) -> tuple[list[Piece], _Request]:
        """Make one request and wait for what it says first; that is when a provider has shown that it answers."""
        manner = self._manner
        self.route = route
        report = CallReport(self._told_as, number=self.calls + 1, provider=route.provider.name, model=self.model)
        asked = ChatRequest(self.model, manner.system, tuple(chat), manner.max_tokens, tools, self._headers)
        try:
            if self.on_request:
                await self.on_request((route, asked))
        except BaseException:
            permit.abandon()
            raise
        request = _Request(route, asked, manner, report, self.on_sign)
        self._requests.append(request)
        try:
            first = await request.begin()
            permit.succeed()
            _check_said(first[-1])
        except BaseException as error:
            request.over = True
            report.over(error)
            await request.pieces.aclose()
            if isinstance(error, ProviderError):
                if error.kind == "unavailable":
                    permit.fail()
                elif error.cause == "policy":
                    request.finish = "content_filter"
                _cool(route, error)
            raise
        else:
            return first, request
        finally:
            permit.abandon()

    def _enter(self, routes: Sequence[Route]) -> tuple[Route, Permit]:
        """Return the first of these routes that may be called. `LlmUnavailableError` where there is none."""
        skipped: list[tuple[Route, SkippedFor]] = []
        for route in routes:
            permit = None if route.cooldown else route.breaker.enter()
            if permit:
                for passed, why in skipped:
                    self._pass_over(passed, why)
                return route, permit
            reason: SkippedFor = "paused" if route.cooldown else "breaker_open"
            skipped.append((route, reason))
            route.tell_skipped(reason)
        cooling = [route.cooldown for route in routes if route.cooldown]
        if cooling:
            raise ProviderError("rate_limited", "the provider asked for a pause", status=429, retry_after=min(cooling))
        raise LlmUnavailableError(max(1.0, min(route.breaker.retry_after for route in routes)))

    def _pass_over(self, route: Route, reason: str) -> None:
        """Note that the next route is asked in place of this one."""
        if route not in self._passed:
            self._passed[route] = reason
            telemetry.log(
                "fallback", level=logging.WARNING, reason=reason, provider=route.provider.name, model=route.model
            )


class _Request:
    """One request under way: its pieces, each waited for in time, and what they have told."""

    def __init__(
        self,
        route: Route,
        asked: ChatRequest,
        manner: _Manner,
        report: CallReport,
        on_sign: Callable[[Piece], None],
    ) -> None:
        self.route = route
        self.pieces = route.provider.stream(asked)
        self.report = report
        self.asked = asked
        self.over = False
        self._at = time.time()
        self._said_bytes = 0
        self.usage: Usage | None = None
        self.finish: FinishReason | None = None
        self._manner = manner
        self._on_sign = on_sign
        self._began = time.monotonic()
        self._alive = self._said = False

    @property
    def spent(self) -> Spent | None:
        """What it used, as the provider told it at the end, else by estimate; None while nothing came."""
        usage = counted = self.usage
        told = counted is not None and self.finish is not None
        if not told:
            if not self._alive:
                return None
            said = self._said_bytes // BYTES_A_TOKEN
            usage = (
                replace(usage, output_tokens=max(usage.output_tokens, said)) if usage else Usage(size(self.asked), said)
            )
        assert usage  # noqa: S101 - it was told, or is made here
        return Spent(self.route.provider.name, self.route.url, self.asked.model, self._at, usage, counted, told)

    async def begin(self) -> list[Piece]:
        """Return the pieces up to the first that says something: text, thinking, a call. Where nothing is said, the finish."""
        held: list[Piece] = []
        while (piece := await self.next()) is not None:
            if isinstance(piece, Alive | Usage):
                continue
            held.append(piece)
            if isinstance(piece, Finish):
                while await self.next() is not None:  # The usage comes behind it.
                    pass
                return held
            if not isinstance(piece, str) or piece.strip():
                return held
        raise ProviderError("unavailable", "the answer ended without a finish")

    async def next(self) -> Piece | None:
        """Return the next piece, None at the end. `ProviderError` where it does not come in time, or is an error."""
        patience, what, setting = self._patience()
        try:
            async with asyncio.timeout(patience):
                piece = await anext(self.pieces, None)
        except TimeoutError as error:
            reason = f"no {what} within {getattr(self._manner, setting):g} s"
            advice = f"Raise llm.{setting}_seconds where the model takes longer."
            raise ProviderError("unavailable", reason, cause="deadline", advice=advice) from error
        self._alive = True
        self.report.piece(piece)
        match piece:
            case None:
                return None
            case str():
                self._said = self._said or not piece.isspace()
                self._said_bytes += len(piece.encode())
            case Thinking(text) | Unsaid(text):
                self._said_bytes += len(text.encode())
            case ToolCall():
                self._said_bytes += len(piece.arguments.encode())
            case Usage():
                self.usage = piece
            case Alive(Usage() as so_far):
                self.usage = so_far
            case Finish(reason):
                self.finish = reason
                if reason == "error":
                    raise ProviderError("unavailable", f"{self.route.provider.name} ended its answer by an error")
        self._on_sign(piece)
        return piece

    def _patience(self) -> tuple[float, str, str]:
        """Return how long to wait for the next piece, what for, and what bounds it."""
        manner = self._manner
        patience, what, setting = manner.first_token, "first token", "first_token"
        if self._alive:
            patience, what, setting = manner.gap, "further token", "gap"
        left = self._began + manner.first_text - time.monotonic()
        if not self._said and left < patience:
            return max(0.0, left), "first text", "first_text"
        return patience, what, setting


def _check_said(piece: Piece) -> None:
    """Raise what it means that an answer begins with its finish."""
    if isinstance(piece, Finish):
        raise _no_answer(piece.reason)


def _cool(route: Route, error: ProviderError) -> None:
    """Leave a provider alone that asks for it."""
    if error.kind == "rate_limited" and error.retry_after:
        route.cool_down(error.retry_after)


def _is_blip(error: BaseException) -> bool:
    """Tell whether a failure may be gone in a moment, so that a second request at once is worth its price."""
    if isinstance(error, NoAnswerError):
        return error.finish == "stop"
    if not isinstance(error, ProviderError):
        return False
    return error.kind == "unavailable" and error.retry_after is None and error.cause != "deadline"


def _no_answer(finish: FinishReason | None) -> NoAnswerError:
    """Return what it means that an answer has no text, by why it ended."""
    match finish:
        case "length":
            return NoAnswerError(
                "length", "llm.max_tokens was used up before the first text, as by reasoning: raise it."
            )
        case "content_filter" | "refusal":
            return NoAnswerError(
                finish, "The model or its content filter refused to answer: write the message otherwise."
            )
        case _:
            return NoAnswerError(finish or "stop", "It ended its answer without any text. Send the message again.")
