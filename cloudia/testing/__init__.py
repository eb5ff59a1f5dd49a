"""For test suites: a stack, a client and a scripted LLM, which the pytest plugin gives as fixtures.

This package alone may know the client and the simulator both; nothing imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudia.testing.client import ChatClient, Reply
    from cloudia.testing.llm import LLMRequest, ScriptedLLM
    from cloudia.testing.stack import RunningStack

__all__ = ["ChatClient", "LLMRequest", "Reply", "RunningStack", "ScriptedLLM"]

_HOMES = {"ChatClient": "client", "LLMRequest": "llm", "Reply": "client", "RunningStack": "stack", "ScriptedLLM": "llm"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: pytest imports this package in every suite, and most of them never ask."""
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"cloudia.testing.{_HOMES[name]}"), name)
