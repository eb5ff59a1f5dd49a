"""Events as Anthropic sends them, and whole answers of them."""

from __future__ import annotations

from typing import Any

from tests.worker.providers.server import answer, events


def began(taken: int = 9) -> dict[str, Any]:
    """Return the event that begins an answer."""
    return {"type": "message_start", "message": {"usage": {"input_tokens": taken, "output_tokens": 1}}}


def block(index: int, kind: str = "text", **fields: Any) -> dict[str, Any]:
    """Return the event that begins a block."""
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def said(text: Any, index: int = 0) -> dict[str, Any]:
    """Return an event with text."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def called(index: int, part: str) -> dict[str, Any]:
    """Return an event with a part of a call's arguments."""
    delta = {"type": "input_json_delta", "partial_json": part}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def used(given_: int, reason: str | None = "end_turn") -> dict[str, Any]:
    """Return the event with the usage so far."""
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": given_}}


STOP = {"type": "message_stop"}
PING = {"type": "ping"}

HELLO = (
    began(),
    block(0, text=""),
    PING,
    {"type": "new_in_2030", "anything": 1},
    said(""),
    said("Hel"),
    said("lo, wörld"),
    {"type": "content_block_stop", "index": 0},
    used(4),
    STOP,
)

STREAM = answer(
    events(
        began(),
        said("Hel"),
        said("lo, wörld"),
        block(1, "tool_use", id="call_a", name="weather"),
        called(1, '{"a": "ü"}'),
        used(4),
        STOP,
    )
)
