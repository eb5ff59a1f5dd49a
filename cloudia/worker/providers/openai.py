"""OpenAI's Chat Completions, and whatever speaks like it."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai

from cloudia.worker.providers.base import (
    Alive,
    ChatRequest,
    Finish,
    FinishReason,
    Piece,
    ProviderError,
    Thinking,
    ToolCall,
    Usage,
    is_object,
)
from cloudia.worker.providers.reading import read
from cloudia.worker.providers.text import Speech, Template, whole
from cloudia.worker.providers.transport import Failures, client_options
from cloudia.worker.providers.usage import openai_usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from openai import AsyncAPIResponse

    from cloudia.worker.providers.reach import Reach
    from cloudia.worker.providers.reading import Events

__all__ = ["OpenAIProvider"]

_LIMITS = ("max_completion_tokens", "max_tokens")
_OWN_HOSTS = ("api.openai.com", ".openai.azure.com")

_FINISH: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "sensitive": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
    "guardrail_intervened": "content_filter",
    "error_toxic": "content_filter",
    "refusal": "refusal",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "error": "error",
    "abort": "error",
    "network_error": "error",
    "insufficient_system_resource": "error",
    "malformed_function_call": "error",
}
"""As OpenAI, Mistral, Gemini, DeepSeek, Zhipu, vLLM, OpenRouter, Bedrock and Cohere spell it; any other word is a stop."""


class OpenAIProvider:
    """The official SDK, streaming."""

    path = "/chat/completions"
    needed = frozenset({"model", "messages", "stream", "tools"})
    """The fields without which a request is another question."""

    def __init__(self, reach: Reach) -> None:
        self.name = reach.name
        options = client_options(openai, reach)
        if "api-version" in options["default_query"]:
            # Azure's header for a key; what speaks like OpenAI passes over it.
            options["default_headers"].setdefault("api-key", reach.api_key)
        self._client = (openai.AsyncBedrockOpenAI if reach.region else openai.AsyncOpenAI)(**options)
        self._failures = Failures(openai, reach, path=self.path)
        self._extra = dict(reach.extra_body)
        # OpenAI's newer models refuse the older name, and most that speak like OpenAI know only that.
        host = urlsplit(reach.url).hostname or ""
        self._limits = list(_LIMITS if host.endswith(_OWN_HOSTS) else reversed(_LIMITS))
        self._template = Template()
        self._refused: set[str] = set()
        """Fields that this server has refused by name; they are left out from then on."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece]:
        """Yield what `Piece` says. Whatever fails is a `ProviderError`."""
        body = self._body(request)
        try:
            async with (
                self._opened(body, request.headers) as answer,
                aclosing(read(answer.http_response, self._events(), self._failures, model=request.model)) as pieces,
            ):
                async for piece in pieces:
                    yield piece
        except ProviderError:
            raise
        except Exception as error:
            failure = self._failures.of(error, model=request.model, sent=self._spare(body) | {"tools"} & body.keys())
            failure.mended = self._learn(failure.field, body)
            raise failure from error

    def _opened(
        self, body: dict[str, Any], headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        """Return the answer to a request, whose body is still to be read."""
        return self._client.chat.completions.with_streaming_response.create(
            model=body["model"], messages=body["messages"], stream=True, extra_headers=headers, extra_body=body
        )

    def _events(self) -> Events:
        """Return what takes the events of an answer."""
        return _State(self._template)

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the request's fields, without those that the server refuses."""
        limit = next((name for name in self._limits if name not in self._refused), None)
        body: dict[str, Any] = {
            "model": request.model,
            "messages": _messages(
                request, system="system" not in self._refused, blank="" if "content" in self._refused else None
            ),
            "stream": True,
            "stream_options": {"include_usage": True},
            **({limit: request.max_tokens} if limit else {}),
            **({"tools": _tools(request)} if request.tools else {}),
            **self._extra,
        }
        return self._without_refused(body)

    def _without_refused(self, body: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in body.items() if name in self.needed or name not in self._refused}

    def _spare(self, body: dict[str, Any]) -> set[str]:
        """Return what the request can do without, or be without in this form.

        `system` is the role of the system prompt, `content` that of a message which has calls of tools and no text.
        """
        spare = set(body) - self.needed
        messages = body["messages"]
        spare |= {"system"} if any(message["role"] == "system" for message in messages) else set()
        return spare | ({"content"} if any(message["content"] is None for message in messages) else set())

    def _learn(self, field: str | None, body: dict[str, Any]) -> bool:
        """Leave a field out that was refused. Return whether the next request is another one for it."""
        if field is None or field not in self._spare(body):
            return False
        self._refused.add(field)
        return True

    def forget(self) -> None:
        """Forget what the server has refused, and what its answers have shown."""
        self._refused.clear()
        self._template.forget()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


class _State:
    """What the chunks of a stream have said so far."""

    stopped = False
    """Of these events none says that it is the last."""

    def __init__(self, template: Template) -> None:
        self.finished = False
        self._finish: FinishReason = "stop"
        self._refusal = False
        self._calls: list[_Call] = []
        self._usage: Usage | None = None
        self._speech = Speech(template)

    def take(self, chunk: dict[str, Any]) -> Iterator[Piece]:
        """Take a chunk. Yield what it brings, a sign of life at least."""
        said = False
        usage = _usage(chunk) or _usage(_object(chunk.get("x_groq")))
        for choice in chunk.get("choices") or ():
            # What gathers an answer before it "streams" it may send a whole message.
            delta = _object(choice.get("delta") if "delta" in choice else choice.get("message"))
            for piece in self._said(delta):
                said = True
                yield piece
            for part in delta.get("tool_calls") or ():
                self._call(part)
            if legacy := delta.get("function_call"):  # What there was before tools: one call, without an id.
                self._call({"function": legacy})
            usage = usage or _usage(choice) or _usage(delta)  # Moonshot's place for it, and others'.
            reason = choice.get("finish_reason")
            if reason:
                self.finished = True
                self._finish = _FINISH.get(str(reason).lower(), "stop")
        self._usage = usage or self._usage
        if usage or not said:
            yield Alive(self._usage)

    def _said(self, delta: dict[str, Any]) -> Iterator[Piece]:
        """Yield the text of a delta, and what of it is thinking. What is refused is said in place of an answer."""
        thought = delta.get("reasoning_content") or delta.get("reasoning") or delta.get("reasoning_details")
        if thought:
            yield Thinking(whole(thought) if isinstance(thought, str) else "")
        content = delta.get("content")
        for part in content if isinstance(content, list) else ({"type": "text", "text": content},):
            if part.get("type", "text") not in {"text", "output_text"}:
                yield Thinking()
                continue
            text = part["text"]
            if not isinstance(text, str | None):
                raise TypeError("the content is no text")
            if text:
                yield from self._speech.add(text)
        refusal = delta.get("refusal")
        if refusal and isinstance(refusal, str):
            self._refusal = True
            yield from self._speech.add(refusal)

    def _call(self, part: dict[str, Any]) -> None:
        """Take a part of a tool call. OpenAI numbers the calls; others do not, or give all the same number."""
        function = _object(part.get("function"))
        index, call_id, name = part.get("index"), part.get("id") or "", function.get("name") or ""
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""
        for call in reversed(self._calls):
            if call.goes_on(index, call_id, name):
                call.name = call.name or name
                call.arguments.append(text)
                return
        self._calls.append(_Call(index, call_id, name, [text]))

    def end(self, *, done: bool) -> Iterator[Piece]:
        """Take the end. One that `[DONE]` told is an end also without a finish, unless it cut a call off."""
        self.finished |= done and all(is_object(call.text) for call in self._calls)
        if self.finished:
            yield from self._speech.rest(cut=self._finish == "length")
            for number, call in enumerate(self._calls):
                yield ToolCall(call.id or f"call_{number}", call.name, whole(call.text))
            yield Finish("refusal" if self._refusal and self._finish == "stop" else self._finish)
        if self._usage:
            yield self._usage


class _Call:
    """A tool call whose parts are coming."""

    def __init__(self, index: Any, call_id: str, name: str, arguments: list[str]) -> None:
        self.index = index
        self.id = call_id
        self.name = name
        self.arguments = arguments

    @property
    def text(self) -> str:
        """Its arguments so far."""
        return "".join(self.arguments)

    def goes_on(self, index: Any, call_id: str, name: str) -> bool:
        """Tell whether a part with these belongs to this call."""
        if index is not None and index != self.index:
            return False
        if call_id:
            return call_id == self.id or (not self.id and index is not None)
        # Without an id: a name begins another call where this one's arguments are whole already.
        return not (name and self.name and self.text and is_object(self.text))


def _usage(told: dict[str, Any]) -> Usage | None:
    """Return the usage that an object has in it, under OpenAI's name or one of Gemini's."""
    for name in ("usage", "usage_metadata", "usageMetadata"):
        if (found := told.get(name)) and (usage := openai_usage(found)):
            return usage
    return None


def _object(value: Any) -> dict[str, Any]:
    """Return an object, an empty one in place of null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError("it is no object")
    return value


def _messages(request: ChatRequest, *, system: bool, blank: str | None) -> list[dict[str, Any]]:
    """Return the messages in OpenAI's form. Where the server has no system role, its text stands before the first question.

    `blank` is the content of a message that has calls of tools and no text.
    """
    messages: list[dict[str, Any]] = (
        [{"role": "system", "content": request.system}] if request.system and system else []
    )
    for message in request.messages:
        content = message.content
        if request.system and not system and message is request.messages[0]:
            content = f"{request.system}\n\n{content}"
        entry: dict[str, Any] = {"role": message.role, "content": content}
        if message.tool_calls:
            entry["content"] = content or blank
            entry["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
                for call in message.tool_calls
            ]
        if message.tool_call_id:
            entry["tool_call_id"] = message.tool_call_id
        messages.append(entry)
    return messages


def _arguments(call: ToolCall) -> str:
    """Return a call's arguments; servers that read them refuse what is no object, and the tool's result says so already."""
    return call.arguments if is_object(call.arguments) else "{}"


def _tools(request: ChatRequest) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in request.tools
    ]
