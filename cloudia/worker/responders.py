"""Responders: the default one, and the user's own, named `module:function`."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cloudia.errors import UsageError

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
    """Return the responder that `module:function` names; modules of the working folder are found too.

    `UsageError` where there is none, or its module fails to load.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise UsageError(f"worker.responder {name!r} is not module:function", hint=_EXAMPLE, code="bad_responder")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # Last, so that no file of a project hides a library.
    try:
        responder: Responder = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:
        raise UsageError(
            f"the responder {name} cannot be loaded: {type(error).__name__}: {error}",
            hint=_EXAMPLE,
            code="bad_responder",
        ) from error
    if not inspect.isasyncgenfunction(responder):
        raise UsageError(f"the responder {name} is not an async generator", hint=_EXAMPLE, code="bad_responder")
    return responder
