"""The configured LLM: which provider answers, with its breaker, a quick retry, and the deadlines of a call."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tenacity

from cloudia import telemetry
from cloudia.worker.breaker import Breaker
from cloudia.worker.call_report import CallReport
from cloudia.worker.providers.base import (
    ChatMessage,
    ChatRequest,
    LlmUnavailableError,
    Piece,
    ProviderError,
    ToolCall,
    Usage,
)
from cloudia.worker.tools import call_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from cloudia.settings import Settings
    from cloudia.telemetry.events import AttemptIds
    from cloudia.worker.breaker import BreakerState, Limits, Permit
    from cloudia.worker.providers.base import Provider, Tool

__all__ = ["Llm", "LlmCall", "Route"]

_TOOL_ROUNDS = 8
_QUICK_RETRIES = 1
_QUICK_WAIT_SECONDS = (0.05, 0.25)


class Route:
    """One provider with one model: its breaker, and the time until which it asked to be left alone."""

    def __init__(self, provider: Provider, model: str, limits: Limits) -> None:
        self.provider = provider
        self.model = model
        self.opened = 0
        self.breaker = Breaker(f"{provider.name} {model}", limits, on_change=self._changed)
        self._cool_at = 0.0

    @property
    def cooldown(self) -> float:
        """Seconds for which the provider asked not to be called, by a 429 with `Retry-After`."""
        return max(0.0, self._cool_at - time.monotonic())

    def cool_down(self, seconds: float) -> None:
        """Leave the provider alone for a while."""
        self._cool_at = max(self._cool_at, time.monotonic() + seconds)

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

    def _changed(self, _name: str, state: BreakerState) -> None:
        self.opened += state == "open"
        level = logging.WARNING if state == "open" else logging.INFO
        telemetry.log(
            f"breaker {state}", level=level, provider=self.provider.name, model=self.model, opened=self.opened
        )


@dataclass(frozen=True, slots=True)
class _Manner:
    """How each call is made; times in seconds."""

    system: str
    max_tokens: int
    first_token: float
    gap: float
    quick_retry: float


class Llm:
    """The LLM of a process: the route that is meant, and the one to fall back to. `call` makes the handle of an attempt."""

    def __init__(self, routes: Sequence[Route], settings: Settings) -> None:
        self.routes = tuple(routes)
        self._manner = _Manner(
            settings.llm_system_prompt,
            settings.llm_max_tokens,
            settings.llm_first_token_seconds,
            settings.llm_gap_seconds,
            settings.llm_quick_retry_seconds,
        )

    def call(
        self, *, job_id: str, attempt: int, model: str | None = None, told_as: AttemptIds | None = None
    ) -> LlmCall:
        """Return the handle of one attempt; it counts what the attempt uses. `model` is in place of the configured one.

        Listeners are told of its requests as those of `told_as`; of None they are not.
        """
        headers = {"x-cloudia-job-id": job_id, "x-cloudia-attempt": str(attempt)}
        return LlmCall(self.routes, self._manner, headers, model, told_as)

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
        self.route = routes[0]
        """The route that was called last."""
        self.calls = 0
        """Requests made. Those beyond the first of an answer may have been paid in vain."""
        self.usage: Usage | None = None
        """Adds up over the calls; None until a provider has told any."""
        self.as_configured = True
        """Whether all of the usage is of the configured model: a fallback, or a model named at a redrive, has its own price."""

    @property
    def model(self) -> str:
        """The model that was asked last. A fallback has its own."""
        return self._model if self._model and self.route is self._routes[0] else self.route.model

    async def stream(self, messages: Sequence[ChatMessage], tools: Sequence[Tool] = ()) -> AsyncIterator[str]:
        """Yield the answer to `messages` as it comes. Tools that the LLM calls are called, and it goes on with their results.

        Raises `LlmUnavailableError` at once where each breaker is open; `ProviderError` where a call failed, also by a
        deadline. A blip before the first text is tried again once.
        """
        chat = list(messages)
        for _ in range(_TOOL_ROUNDS):
            said: list[str] = []
            calls: list[ToolCall] = []
            async with aclosing(self._pieces(tuple(chat), tuple(tools))) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        said.append(piece)
                        yield piece
                    elif isinstance(piece, ToolCall):
                        calls.append(piece)
            if not calls:
                return
            chat.append(ChatMessage("assistant", "".join(said), tool_calls=tuple(calls)))
            results = [
                ChatMessage("tool", await call_tool(tools, call, job=self._told_as), tool_call_id=call.id)
                for call in calls
            ]
            chat.extend(results)
        raise ProviderError("rejected", f"the LLM still called tools after {_TOOL_ROUNDS} rounds")

    async def _pieces(
        self, messages: tuple[ChatMessage, ...], tools: tuple[Tool, ...]
    ) -> AsyncGenerator[str | ToolCall]:
        """Yield what one call of the provider brings; its usage is counted."""
        first, pieces, route, report = await self._begin(messages, tools)
        try:
            async with aclosing(pieces):
                piece: Piece | None = first
                while piece is not None:
                    if isinstance(piece, Usage):
                        self._count(piece, route)
                    elif piece:
                        yield piece
                    try:
                        piece = await _next(pieces, self._manner.gap, "further token")
                    except ProviderError:
                        route.breaker.fail()
                        raise
                    report.piece(piece)
        except BaseException as error:
            report.over(error)
            raise
        report.over()

    async def _begin(
        self, messages: tuple[ChatMessage, ...], tools: tuple[Tool, ...]
    ) -> tuple[Piece | None, AsyncGenerator[Piece], Route, CallReport]:
        """Return the first piece of an answer, the others, whose it is, and what is told of it."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_blip),
            stop=tenacity.stop_after_attempt(1 + _QUICK_RETRIES) | tenacity.stop_after_delay(self._manner.quick_retry),
            wait=tenacity.wait_random(*_QUICK_WAIT_SECONDS),
            reraise=True,
        )
        return await retrying(self._open, messages, tools)

    async def _open(
        self, messages: tuple[ChatMessage, ...], tools: tuple[Tool, ...]
    ) -> tuple[Piece | None, AsyncGenerator[Piece], Route, CallReport]:
        """Make one request and wait for its first piece; that is when a provider has shown that it answers."""
        route, permit = self._enter()
        manner = self._manner
        self.route, self.calls = route, self.calls + 1
        report = CallReport(self._told_as, number=self.calls, provider=route.provider.name, model=self.model)
        request = ChatRequest(self.model, manner.system, messages, manner.max_tokens, tools, self._headers)
        pieces = route.provider.stream(request)
        try:
            first = await _next(pieces, manner.first_token, "first token")
        except ProviderError as error:
            report.over(error)
            await pieces.aclose()
            if error.kind == "unavailable":
                permit.fail()
            elif error.kind == "rate_limited" and error.retry_after:
                route.cool_down(error.retry_after)
            raise
        except BaseException as error:
            report.over(error)
            await pieces.aclose()
            raise
        else:
            permit.succeed()
            report.piece(first)
            return first, pieces, route, report
        finally:
            permit.abandon()

    def _enter(self) -> tuple[Route, Permit]:
        """Return the first route that may be called. `LlmUnavailableError` where there is none."""
        for route in self._routes:
            if route.cooldown:
                continue
            permit = route.breaker.enter()
            if permit:
                return route, permit
        cooling = [route.cooldown for route in self._routes if route.cooldown]
        if cooling:
            raise ProviderError("rate_limited", "the provider asked for a pause", status=429, retry_after=min(cooling))
        raise LlmUnavailableError(max(1.0, min(route.breaker.retry_after for route in self._routes)))

    def _count(self, usage: Usage, route: Route) -> None:
        before = self.usage or Usage(0, 0)
        self.usage = Usage(before.input_tokens + usage.input_tokens, before.output_tokens + usage.output_tokens)
        self.as_configured &= route is self._routes[0] and self._model in {None, route.model}


def _is_blip(error: BaseException) -> bool:
    """Tell whether a failure may be gone in a moment, so that a second request at once is worth its price."""
    return isinstance(error, ProviderError) and error.kind == "unavailable" and error.retry_after is None


async def _next(pieces: AsyncGenerator[Piece], patience: float, what: str) -> Piece | None:
    """Return the next piece, None at the end. `ProviderError` where it does not come in time."""
    try:
        async with asyncio.timeout(patience):
            return await anext(pieces, None)
    except TimeoutError as error:
        raise ProviderError("unavailable", f"no {what} within {patience:g} s") from error
