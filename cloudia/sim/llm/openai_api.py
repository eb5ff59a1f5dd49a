"""OpenAI Chat Completions on the wire: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from cloudia.sim.llm import fields
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.prompts import Finish, Prompt, Provider, Reply, Role, Turn
from cloudia.sim.llm.wire import MARK, Frames, bearer, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OpenAIApi"]

_ROLES: dict[str, Role] = {
    **{role: role for role in get_args(Role)},
    "developer": "system",
    "function": "tool",
}
_FINISH: dict[Finish, str] = {"stop": "stop", "stop_sequence": "stop", "length": "length", "tool": "tool_calls"}
_ERRORS = {  # status: type, code
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


class OpenAIApi:
    """The Chat Completions API, without I/O."""

    name: Provider = "openai"
    id_header = "x-request-id"

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take `clock`, which returns epoch seconds, for the time that answers carry."""
        self._clock = clock

    def key(self, headers: Mapping[str, str]) -> str:
        """Return the API key that came with a request, or an empty string."""
        return bearer(headers)

    def parse(self, body: dict[str, Any]) -> Prompt:
        """Return what the body asks. Raises FieldError for what OpenAI would answer 400 to."""
        model = fields.text(body, "model")
        if model is None:
            raise FieldError("model", "must be given")
        messages = fields.objects(body, "messages")
        if not messages:
            raise FieldError("messages", "must hold at least one message")
        if fields.integer(body, "n", least=1) not in {None, 1}:
            raise FieldError("n", "must be 1: the simulated provider gives one choice")
        most = fields.integer(body, "max_completion_tokens", least=1)
        older = fields.integer(body, "max_tokens", least=1)
        return Prompt(
            model=model,
            turns=tuple(_turn(message, f"messages[{at}]") for at, message in enumerate(messages)),
            seed=fields.integer(body, "seed"),
            max_tokens=older if most is None else most,
            stop=fields.strings(body, "stop"),
            tools=tuple(name for tool in fields.objects(body, "tools") if (name := _tool_name(tool))),
            stream=fields.flag(body, "stream"),
            include_usage=fields.flag(fields.obj(body, "stream_options"), "include_usage"),
        )

    def answer(self, prompt: Prompt, reply: Reply) -> dict[str, Any]:
        """Return a `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
        if reply.tool_call:
            message |= {"content": None, "tool_calls": [_call(reply, reply.tool_call.name, reply.text)]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[reply.finish]}
        return self._envelope(prompt, reply, "chat.completion") | {"choices": [choice], "usage": _usage(reply)}

    def frames(self, prompt: Prompt, reply: Reply) -> Frames:
        """Return the `chat.completion.chunk` events, the usage among them if it was asked for."""
        envelope = self._envelope(prompt, reply, "chat.completion.chunk")
        if prompt.include_usage:
            envelope["usage"] = None

        def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _event(envelope | {"choices": [choice]})

        first: dict[str, Any] = {"role": "assistant", "content": ""}
        token: dict[str, Any] = {"content": MARK}
        if reply.tool_call:
            first |= {"content": None, "tool_calls": [{"index": 0, **_call(reply, reply.tool_call.name, "")}]}
            token = {"tool_calls": [{"index": 0, "function": {"arguments": MARK}}]}
        tail = event({}, _FINISH[reply.finish])
        if prompt.include_usage:
            tail += _event(envelope | {"choices": [], "usage": _usage(reply)})
        return Frames.around(event(token), head=event(first), tail=tail + b"data: [DONE]\n\n")

    def error(self, status: int, message: str, param: str | None = None) -> dict[str, Any]:
        """Return `{"error": {"message", "type", "param", "code"}}`."""
        kind, code = _ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))  # noqa: PLR2004
        said = f"Invalid '{param}': {message}." if param else message
        return {"error": {"message": said, "type": kind, "param": param, "code": code}}

    def models(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the list of models."""
        return {"object": "list", "data": [self.model(name) for name in names]}

    def model(self, name: str) -> dict[str, Any]:
        """Return one entry of the list of models."""
        return {"id": name, "object": "model", "created": 0, "owned_by": "cloudia"}

    def _envelope(self, prompt: Prompt, reply: Reply, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{reply.reply_id}",
            "object": kind,
            "created": int(self._clock()),
            "model": prompt.model,
            "service_tier": "default",
            "system_fingerprint": "fp_cloudia",
        }


def _turn(message: dict[str, Any], where: str) -> Turn:
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise FieldError(f"{where}.role", f"must be one of {', '.join(_ROLES)}")
    if isinstance(message.get("content"), list):
        return Turn(_ROLES[role], "\n".join(_part(part) for part in fields.objects(message, "content")))
    return Turn(_ROLES[role], fields.text(message, "content", empty=True) or "")


def _part(part: dict[str, Any]) -> str:
    """Return the text of one part of a message, or its kind in brackets: `[image_url]`."""
    kind = fields.text(part, "type")
    if kind is None:
        raise FieldError("type", "must be given for each part of a message's content")
    return (fields.text(part, kind, empty=True) or "") if kind in {"text", "refusal"} else f"[{kind}]"


def _tool_name(tool: dict[str, Any]) -> str | None:
    return fields.text(fields.obj(tool, "function") or fields.obj(tool, "custom"), "name")


def _call(reply: Reply, name: str, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{reply.reply_id}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _usage(reply: Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _event(data: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % encode(data)
