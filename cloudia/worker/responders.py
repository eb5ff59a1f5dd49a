"""Responders: the default one, and the user's own, named `module:function`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from cloudia.errors import UsageError
from cloudia.named_function import load_function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudia.worker.turn import Responder, Turn

__all__ = ["answer_with_llm", "load_responder"]

_EXAMPLE = "Such as `async def answer(turn): yield ...` in my_bot.py, named my_bot:answer."


async def answer_with_llm(turn: Turn) -> AsyncIterator[str]:
    """Answer with the configured LLM."""
    async for text in turn.llm.stream(turn.messages):
        yield text


def load_responder(name: str) -> Responder:
    """Return the responder that `module:function` names. `UsageError` where there is none."""
    responder: Responder = load_function(
        "worker.responder", name, what="responder", example=_EXAMPLE, code="bad_responder"
    )
    if not inspect.isasyncgenfunction(responder):
        raise UsageError(f"the responder {name} is not an async generator", hint=_EXAMPLE, code="bad_responder")
    return responder
