"""Events of OpenAI's Responses API, and whole answers of them."""

from __future__ import annotations

from typing import Any

from tests.worker.providers.server import answer, events

BEGAN: dict[str, Any] = {"type": "response.created", "response": {"status": "in_progress", "error": None, "output": []}}


def said(delta: Any, index: int = 0) -> dict[str, Any]:
    """Return an event with text."""
    return {"type": "response.output_text.delta", "output_index": index, "delta": delta}


def item(kind: str, index: int, *, done: bool = False, **fields: Any) -> dict[str, Any]:
    """Return the event that begins an item, or ends it."""
    event = "response.output_item.done" if done else "response.output_item.added"
    return {"type": event, "output_index": index, "item": {"type": kind, "id": f"item_{index}", **fields}}


def called(index: int, part: str) -> dict[str, Any]:
    """Return an event with a part of a call's arguments."""
    return {"type": "response.function_call_arguments.delta", "output_index": index, "delta": part}


def ended(*, reason: str = "", output: tuple[dict[str, Any], ...] = (), usage: bool = True) -> dict[str, Any]:
    """Return the event that ends a response; with a reason it is incomplete."""
    kind = "incomplete" if reason else "completed"
    counted = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
    response = {
        "object": "response",
        "status": kind,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "output": list(output),
        "usage": counted if usage else None,
    }
    return {"type": f"response.{kind}", "response": response}


HELLO = (BEGAN, item("message", 0), said(""), said("Hel"), said("lo, wörld"), ended())
STREAM = answer(
    events(
        BEGAN,
        item("message", 0),
        said("Hel"),
        said("lo, wörld"),
        item("function_call", 1, call_id="call_a", name="weather", arguments=""),
        called(1, '{"a": "ü"}'),
        ended(),
    )
)
