"""Anthropic Messages on the wire: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.sim.llm import fields
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.prompts import Finish, Prompt, Provider, Reply, Role, Turn
from cloudia.sim.llm.wire import MARK, Frames, bearer, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["AnthropicApi"]

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_FINISH: dict[Finish, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool": "tool_use",
}
_ERRORS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicApi:
    """The Messages API, without I/O."""

    name: Provider = "anthropic"
    id_header = "request-id"

    def key(self, headers: Mapping[str, str]) -> str:
        """Return the API key that came with a request, or an empty string."""
        return headers.get("x-api-key", "").strip() or bearer(headers)

    def parse(self, body: dict[str, Any]) -> Prompt:
        """Return what the body asks. Raises FieldError for what Anthropic would answer 400 to."""
        model = fields.text(body, "model")
        if model is None:
            raise FieldError("model", "Field required")
        most = fields.integer(body, "max_tokens", least=1)
        if most is None:
            raise FieldError("max_tokens", "Field required")
        messages = fields.objects(body, "messages")
        if not messages:
            raise FieldError("messages", "at least one message is required")
        turns = [turn for at, message in enumerate(messages) for turn in _turns(message, f"messages.{at}")]
        system = _text(body, "system")
        return Prompt(
            model=model,
            turns=(Turn("system", system), *turns) if system else tuple(turns),
            seed=fields.integer(body, "seed"),
            max_tokens=most,
            stop=fields.strings(body, "stop_sequences"),
            tools=tuple(name for tool in fields.objects(body, "tools") if (name := fields.text(tool, "name"))),
            stream=fields.flag(body, "stream"),
        )

    def answer(self, prompt: Prompt, reply: Reply) -> dict[str, Any]:
        """Return a `message`."""
        block: dict[str, Any] = {"type": "text", "text": reply.text}
        if reply.tool_call:
            block = _tool_use(reply, reply.tool_call.name, reply.tool_call.arguments)
        return _message(prompt, reply) | {
            "content": [block],
            "stop_reason": _FINISH[reply.finish],
            "stop_sequence": reply.stop_sequence,
            "usage": _usage(reply, reply.completion_tokens),
        }

    def frames(self, prompt: Prompt, reply: Reply) -> Frames:
        """Return the events from `message_start` to `message_stop`, around one content block."""
        block: dict[str, Any] = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": MARK}
        if reply.tool_call:
            block = _tool_use(reply, reply.tool_call.name, {})
            delta = {"type": "input_json_delta", "partial_json": MARK}
        head = (
            _event({"type": "message_start", "message": _message(prompt, reply)})
            + _event({"type": "content_block_start", "index": 0, "content_block": block})
            + _event({"type": "ping"})
        )
        token = _event({"type": "content_block_delta", "index": 0, "delta": delta})
        ending = {"stop_reason": _FINISH[reply.finish], "stop_sequence": reply.stop_sequence}
        tail = (
            _event({"type": "content_block_stop", "index": 0})
            + _event({"type": "message_delta", "delta": ending, "usage": _usage(reply, reply.completion_tokens)})
            + _event({"type": "message_stop"})
        )
        return Frames.around(token, head=head, tail=tail)

    def error(self, status: int, message: str, param: str | None = None) -> dict[str, Any]:
        """Return `{"type": "error", "error": {"type", "message"}}`, with the field's name in the message."""
        kind = _ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")  # noqa: PLR2004
        said = f"{param}: {message}" if param else message
        return {"type": "error", "error": {"type": kind, "message": said}}

    def models(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the list of models."""
        data = [self.model(name) for name in names]
        return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}

    def model(self, name: str) -> dict[str, Any]:
        """Return one entry of the list of models."""
        return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _turns(message: dict[str, Any], where: str) -> Iterator[Turn]:
    """Yield what a message holds: Anthropic puts the results of tools into the user's messages."""
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise FieldError(f"{where}.role", f"must be one of {', '.join(_ROLES)}")
    content = message.get("content")
    if content is None:
        raise FieldError(f"{where}.content", "Field required")
    results = []
    if isinstance(content, list):
        blocks = fields.objects(message, "content")
        results = [block for block in blocks if block.get("type") == "tool_result"]
        yield from (Turn("tool", _text(result, "content")) for result in results)
    said = _text(message, "content")
    if said or not results:
        yield Turn(_ROLES[role], said)


def _text(data: dict[str, Any], name: str) -> str:
    """Return the text of `data[name]`: a string, or a list of content blocks."""
    if not isinstance(data.get(name), list):
        return fields.text(data, name, empty=True) or ""
    kinds = ((fields.text(block, "type"), block) for block in fields.objects(data, name))
    return "\n".join(_block(kind, block) for kind, block in kinds if kind != "tool_result")


def _block(kind: str | None, block: dict[str, Any]) -> str:
    """Return the text of one content block, or its kind in brackets: `[image]`."""
    if kind is None:
        raise FieldError("type", "Field required")
    return (fields.text(block, "text", empty=True) or "") if kind == "text" else f"[{kind}]"


def _tool_use(reply: Reply, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{reply.reply_id}", "name": name, "input": arguments}


def _usage(reply: Reply, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": reply.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }


def _message(prompt: Prompt, reply: Reply) -> dict[str, Any]:
    return {
        "id": f"msg_{reply.reply_id}",
        "type": "message",
        "role": "assistant",
        "model": prompt.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(reply, 1),
    }


def _event(data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (str(data["type"]).encode(), encode(data))
