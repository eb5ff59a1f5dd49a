"""Chunks as OpenAI sends them, and whole answers of them."""

from __future__ import annotations

from typing import Any

from tests.worker.providers.server import answer, events

DONE = b"data: [DONE]\n\n"


def said(content: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a chunk with text, or with what else a delta may have."""
    delta = {**({} if content is None else {"content": content}), **fields}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def called(index: int, arguments: str, **fields: Any) -> dict[str, Any]:
    """Return a chunk with a part of a tool call."""
    function = {"arguments": arguments, **({"name": fields.pop("name")} if "name" in fields else {})}
    return said(tool_calls=[{"index": index, "function": function, **fields}])


def finished(reason: str = "stop") -> dict[str, Any]:
    """Return the chunk that says why an answer ended."""
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def used(taken: int, given_: int) -> dict[str, Any]:
    """Return the chunk with the usage."""
    return {"choices": [], "usage": {"prompt_tokens": taken, "completion_tokens": given_}}


def whole(*chunks: dict[str, Any]) -> list[bytes]:
    """Return an answer with these chunks and its end."""
    return answer(events(*chunks), DONE)


HELLO = (said("", role="assistant"), said("Hel"), said("lo, wörld"), finished(), used(9, 4))

STREAM = whole(*HELLO[:-2], called(0, '{"a": "ü"}', id="call_a", name="weather"), finished(), used(9, 4))
