"""OpenAI's Responses on the wire: https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from cloudia.sim.llm import fields
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.openai_api import OpenAIApi
from cloudia.sim.llm.prompts import Prompt, Reply, Role, Turn
from cloudia.sim.llm.wire import MARK, NUMBER, Frames, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ResponsesApi"]

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_TEXTS = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
"""The field that holds the text of a part, by its type."""
_FEWEST = 16
"""OpenAI refuses a smaller limit."""


class ResponsesApi(OpenAIApi):
    """The Responses API, without I/O. It keeps no response: each request has the whole conversation."""

    def parse(self, body: dict[str, Any]) -> Prompt:
        """Return what the body asks. Raises FieldError for what OpenAI answers 400 to, and where a kept response is meant."""
        model = fields.text(body, "model")
        if model is None:
            raise FieldError("model", "must be given")
        for name in ("previous_response_id", "conversation", "background"):
            if body.get(name):
                raise FieldError(name, "must be left out: the simulated provider keeps no responses")
        turns = tuple(_turns(body))
        if not turns:
            raise FieldError("input", "must hold at least one item")
        instructions = fields.text(body, "instructions", empty=True)
        return Prompt(
            model=model,
            turns=(Turn("system", instructions), *turns) if instructions else turns,
            max_tokens=fields.integer(body, "max_output_tokens", least=_FEWEST),
            tools=tuple(tool for each in fields.objects(body, "tools") if (tool := fields.text(each, "name"))),
            stream=fields.flag(body, "stream"),
        )

    def answer(self, prompt: Prompt, reply: Reply) -> dict[str, Any]:
        """Return a `response`."""
        cut = reply.finish == "length"
        return self._response(prompt, reply) | {
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [_item(reply, "incomplete" if cut else "completed", reply.text)],
            "usage": _usage(reply),
        }

    def frames(self, prompt: Prompt, reply: Reply) -> Frames:
        """Return the events from `response.created` to the end, each with its number."""
        numbers = count()

        def event(kind: str, **data: Any) -> bytes:
            return _event(kind, **data, sequence_number=next(numbers))

        begun = self._response(prompt, reply)
        head = event("response.created", response=begun) + event("response.in_progress", response=begun)
        head += event("response.output_item.added", output_index=0, item=_item(reply, "in_progress", ""))
        whole = self.answer(prompt, reply)
        (item,) = whole["output"]
        place: dict[str, Any] = {"item_id": item["id"], "output_index": 0}
        more: dict[str, Any] = {}
        kind, said = "response.function_call_arguments", "arguments"
        if not reply.tool_call:
            place["content_index"] = 0
            kind, more, said = "response.output_text", {"logprobs": []}, "text"
            head += event("response.content_part.added", **place, part=_part(""))
        first = next(numbers)
        numbers = count(first + len(reply.chunks))
        tail = event(f"{kind}.done", **place, **{said: reply.text}, **more)
        if not reply.tool_call:
            tail += event("response.content_part.done", **place, part=_part(reply.text))
        tail += event("response.output_item.done", output_index=0, item=item)
        tail += event(f"response.{whole['status']}", response=whole)
        delta = _event(f"{kind}.delta", **place, delta=MARK, **more, sequence_number=NUMBER)
        return Frames.around(delta, head=head, tail=tail, first=first)

    def _response(self, prompt: Prompt, reply: Reply) -> dict[str, Any]:
        """Return a response that has just begun."""
        return {
            "id": f"resp_{reply.reply_id}",
            "object": "response",
            "created_at": int(self._clock()),
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "max_output_tokens": prompt.max_tokens,
            "metadata": {},
            "model": prompt.model,
            "output": [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
        }


def _turns(body: dict[str, Any]) -> Iterator[Turn]:
    """Yield what the input holds: a text, or items. Calls of tools and reasoning say nothing."""
    if not isinstance(body.get("input"), list):
        said = fields.text(body, "input")
        if said:
            yield Turn("user", said)
        return
    for at, item in enumerate(fields.objects(body, "input")):
        match fields.text(item, "type") or "message":
            case "message":
                role = item.get("role")
                if not isinstance(role, str) or role not in _ROLES:
                    raise FieldError(f"input[{at}].role", f"must be one of {', '.join(_ROLES)}")
                yield Turn(_ROLES[role], _text(item, "content"))
            case "function_call_output":
                yield Turn("tool", _text(item, "output"))
            case "item_reference":
                raise FieldError(f"input[{at}]", "must be the item itself: the simulated provider keeps no responses")


def _text(item: dict[str, Any], name: str) -> str:
    """Return the text of `item[name]`: a string, or a list of parts. A part that is no text is its type in brackets."""
    if not isinstance(item.get(name), list):
        return fields.text(item, name, empty=True) or ""
    return "\n".join(_part_text(part) for part in fields.objects(item, name))


def _part_text(part: dict[str, Any]) -> str:
    kind = fields.text(part, "type")
    if kind is None:
        raise FieldError("type", "must be given for each part of an item's content")
    return (fields.text(part, _TEXTS[kind], empty=True) or "") if kind in _TEXTS else f"[{kind}]"


def _item(reply: Reply, status: str, text: str) -> dict[str, Any]:
    """Return the one item of a response: a message, or the call of a tool with its arguments."""
    if reply.tool_call:
        return {
            "id": f"fc_{reply.reply_id}",
            "type": "function_call",
            "status": status,
            "arguments": text,
            "call_id": f"call_{reply.reply_id}",
            "name": reply.tool_call.name,
        }
    content = [] if status == "in_progress" else [_part(text)]
    return {
        "id": f"msg_{reply.reply_id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _usage(reply: Reply) -> dict[str, Any]:
    return {
        "input_tokens": reply.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def _event(kind: str, **data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **data}))
