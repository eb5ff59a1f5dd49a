"""The two things a user message can ask of the simulated provider in double brackets."""

from __future__ import annotations

import re
from typing import Any

from cloudia.sim.llm.fields import JSON
from cloudia.sim.llm.prompts import ToolCall

__all__ = ["MAX_WORDS", "tool_call", "without", "words"]

MAX_WORDS = 20_000
_WORDS = re.compile(r"\[\[words:(\d{1,9})\]\]", re.ASCII)
_TOOL = re.compile(r"\[\[tool:([\w.-]{1,128})\s*", re.ASCII)
_ANY = re.compile(r"\[\[(?:words:\d{1,9}|tool:[\w.-]{1,128}(?:\s*\{.*?\})?\s*)\]\]", re.ASCII | re.DOTALL)


def words(message: str) -> int | None:
    """Return how many words `[[words:N]]` asks for, 1 to 20,000; None if it is not there."""
    found = _WORDS.search(message)
    return min(max(int(found[1]), 1), MAX_WORDS) if found else None


def tool_call(message: str) -> ToolCall | None:
    """Return the call that `[[tool:NAME {arguments}]]` asks for; None if it is not there or its arguments are no object."""
    found = _TOOL.search(message)
    if not found:
        return None
    arguments: Any = {}
    end = found.end()
    if message.startswith("{", end):
        try:
            arguments, end = JSON.raw_decode(message, end)
        except (ValueError, RecursionError):
            return None
    return ToolCall(found[1], arguments) if message[end:].lstrip().startswith("]]") else None


def without(message: str) -> str:
    """Return `message`, which is short, without its directives."""
    return _ANY.sub(" ", message)
