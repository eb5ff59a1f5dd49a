"""A check of the configured LLM: each of its routes is asked one tiny question, as a worker would ask it."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from cloudia.errors import UsageError
from cloudia.local.llm import real_llm
from cloudia.sim.checks import Check
from cloudia.stack import Stack
from cloudia.worker.providers.base import ChatMessage, ChatRequest, ProviderError

if TYPE_CHECKING:
    from cloudia.cloud.parameters import Parameters
    from cloudia.settings import Settings
    from cloudia.stack import Parameter
    from cloudia.worker.llm import Route

__all__ = ["check_llm"]

_QUESTION = "Answer with the one word: yes."
_MAX_TOKENS = 16
_MOST_TRIES = 4
"""A server that refuses fields names one at a time."""


class _NoParameters:
    """What a deployed worker would find in SSM: nothing, as doctor asks nobody else."""

    def get(self, _parameter: Parameter) -> str | None:
        """Return None."""
        return None


async def check_llm(chosen: Settings) -> list[Check]:
    """Ask the LLM that `up.llm` names, and where it is the simulated one that of `llm.provider`; then each fallback."""
    from cloudia.worker.routes import make_llm  # noqa: PLC0415 - up to 1 s of import

    try:
        settings, _ = real_llm(chosen)
        llm = make_llm(settings, cast("Parameters", _NoParameters()), Stack())
    except UsageError as error:
        return [Check("llm", "missing", error.message, error.hint)]
    try:
        checks = [await _check(route, settings.llm_first_token_seconds) for route in llm.routes]
    finally:
        await llm.aclose()
    return checks


async def _check(route: Route, seconds: float) -> Check:
    """Ask a provider. `seconds` is how long it may take until its answer ends."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            await _ask(route)
    except ProviderError as error:
        return Check("llm", "missing", error.reason, error.advice or _ADVICE[error.kind])
    except TimeoutError:
        hint = "A model that is loaded, or reasons, takes its time: llm.first_token_seconds is how long it has."
        return Check("llm", "missing", f"{route.provider.name} did not answer within {seconds:g} s", hint)
    return Check("llm", "ok", f"{route.provider.name} answered as {route.model}, in {time.monotonic() - began:.1f} s")


_ADVICE = {
    "unavailable": "Its status page, or its own log, may say why.",
    "rate_limited": "It has too much to do, or this key asks too often: wait, and ask again.",
    "rejected": "Look at llm.extra_body, llm.extra_headers and llm.extra_query; its documentation says what it takes.",
}


async def _ask(route: Route) -> None:
    """Ask until the answer is whole, once more for each field that the server has refused."""
    request = ChatRequest(
        model=route.model,
        system="",
        messages=(ChatMessage("user", _QUESTION),),
        max_tokens=_MAX_TOKENS,
        tools=(),
        headers={},
    )
    for left in reversed(range(_MOST_TRIES)):
        try:
            async with aclosing(route.provider.stream(request)) as pieces:
                async for _ in pieces:
                    pass
        except ProviderError as error:
            if not (error.mended and left):
                raise
        else:
            return
