"""Anthropic's Messages, and whatever speaks like it."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anthropic

from cloudia.worker.providers.base import (
    Alive,
    ChatRequest,
    Finish,
    FinishReason,
    Piece,
    ProviderError,
    Thinking,
    ToolCall,
    is_object,
)
from cloudia.worker.providers.reading import read
from cloudia.worker.providers.text import Speech, Template, whole
from cloudia.worker.providers.transport import Failures, client_options
from cloudia.worker.providers.usage import AnthropicUsage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    import httpx2

    from cloudia.cloud.signing import Signer
    from cloudia.worker.providers.reach import Reach

__all__ = ["AnthropicProvider"]

_NEEDED = frozenset({"model", "messages", "stream", "tools", "max_tokens", "system"})
"""The fields without which a request is another question, or none that Anthropic takes."""

_FINISH: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""Any other word is a stop: https://docs.anthropic.com/en/api/handling-stop-reasons."""


class _Bedrock(anthropic.AsyncAnthropicBedrockMantle):
    """The SDK's client of `bedrock-mantle`, which signs also what goes to `bedrock-runtime`, AWS's recommendation."""

    @cached_property
    def _signer(self) -> Signer:
        from cloudia.cloud.signing import Signer  # noqa: PLC0415 - only where requests are signed

        return Signer(self.aws_region or "")

    async def _prepare_request(self, request: httpx2.Request) -> None:
        """Sign it where there is no key. The SDK calls this for each request."""
        if self._use_sigv4:
            service = "bedrock-mantle" if request.url.host.startswith("bedrock-mantle.") else "bedrock"
            parts = request.method, str(request.url), request.headers, request.read()
            request.headers.update(await asyncio.to_thread(self._signer.signed, service, *parts))


class AnthropicProvider:
    """The official SDK, streaming."""

    def __init__(self, reach: Reach) -> None:
        self.name = reach.name
        self._client = (_Bedrock if reach.region else anthropic.AsyncAnthropic)(**client_options(anthropic, reach))
        self._failures = Failures(anthropic, reach, path="/v1/messages")
        self._extra = dict(reach.extra_body)
        self._template = Template()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece]:
        """Yield what `Piece` says. Whatever fails is a `ProviderError`."""
        body = {name: value for name, value in self._extra.items() if name not in {"model", "messages", "stream"}}
        try:
            async with (
                self._client.messages.with_streaming_response.create(
                    model=request.model,
                    system=request.system or anthropic.omit,
                    messages=_messages(request),
                    tools=_tools(request) or anthropic.omit,
                    max_tokens=request.max_tokens,
                    extra_headers=request.headers,
                    extra_body=body,
                    stream=True,
                ) as answer,
                aclosing(
                    read(answer.http_response, _State(self._template), self._failures, model=request.model)
                ) as pieces,
            ):
                async for piece in pieces:
                    yield piece
        except ProviderError:
            raise
        except Exception as error:
            told = {"max_tokens", *({"tools"} if request.tools else ())}
            failure = self._failures.of(error, model=request.model, sent=(body.keys() - _NEEDED) | told)
            if failure.field in body:
                self._extra.pop(failure.field, None)
                failure.mended = True
            raise failure from error

    def forget(self) -> None:
        """Forget what the answers have shown."""
        self._template.forget()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


class _State:
    """What the events of a stream have said so far."""

    def __init__(self, template: Template) -> None:
        self.stopped = False
        """Whether `message_stop` has come."""
        self._finish: FinishReason | None = None
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        """By the index of their block: id, name, and the parts of the arguments."""
        self._usage = AnthropicUsage()
        self._counted = False
        self._speech = Speech(template)
        self._block = 0
        """The index of the last block that began, for who leaves it out."""

    def take(self, event: dict[str, Any]) -> Iterator[Piece]:
        """Take an event. Yield the text or the thinking that it brings, else a sign of life."""
        said = False
        for piece in self._pieces(event):
            said = True
            yield piece
        if not said:
            yield Alive(self._usage.usage)

    def _pieces(self, event: dict[str, Any]) -> Iterator[Piece]:
        match event.get("type"):
            case "content_block_delta":
                yield from self._delta(event.get("index", self._block), event["delta"])
            case "content_block_start":
                yield from self._start(event.get("index", self._block + 1), event["content_block"])
            case "message_start":
                self._usage.take(event["message"].get("usage"))
            case "message_delta":
                self._ends(event["delta"], event.get("usage"))
            case "message_stop":
                self.stopped = True
            case "message":  # A whole answer, of a server that does not stream.
                for index, block in enumerate(event["content"]):
                    yield from self._start(index, block)
                self._ends(event, event.get("usage"))
                self.stopped = True

    def _ends(self, told: dict[str, Any], usage: Any) -> None:
        """Take why the answer ends, and its usage."""
        self._usage.take(usage)
        self._counted = True
        reason = told.get("stop_reason")
        if reason:
            self._finish = _FINISH.get(str(reason), "stop")

    def _start(self, index: int, block: dict[str, Any]) -> Iterator[Piece]:
        self._block = index
        match block["type"]:
            case "tool_use":
                given = block.get("input")  # Empty as a rule; what speaks like Anthropic may send all of it here.
                self._calls[index] = (block["id"], block["name"], [json.dumps(given)] if given else [])
            case "text" if block.get("text"):
                yield from self._said(block["text"])
            case "thinking" | "redacted_thinking":
                yield Thinking()

    def _delta(self, index: int, delta: dict[str, Any]) -> Iterator[Piece]:
        match delta["type"]:
            case "text_delta":
                yield from self._said(delta["text"])
            case "thinking_delta":
                thought = delta.get("thinking")
                yield Thinking(whole(thought) if isinstance(thought, str) else "")
            case "input_json_delta" if index in self._calls:  # Others are of a tool of the server's own.
                self._calls[index][2].append(delta["partial_json"])

    def _said(self, text: Any) -> Iterator[Piece]:
        if not isinstance(text, str):
            raise TypeError("the text is no text")
        return self._speech.add(text)

    @property
    def finished(self) -> bool:
        """Whether the answer is whole: by `message_stop`, or by a reason to stop with no call that is cut."""
        whole_calls = all(is_object("".join(parts)) for _, _, parts in self._calls.values())
        return self.stopped or (self._finish is not None and whole_calls)

    def end(self, *, done: bool) -> Iterator[Piece]:  # noqa: ARG002 - OpenAI's end is none of Anthropic's
        """Take the end. Yield what comes last."""
        if self.finished:
            yield from self._speech.rest(cut=self._finish == "length")
            for call_id, name, parts in self._calls.values():
                yield ToolCall(call_id, name, whole("".join(parts)))
            yield Finish(self._finish or "stop")
        if self._counted and self._usage.usage:
            yield self._usage.usage


def _messages(request: ChatRequest) -> Any:
    """Return the messages in Anthropic's form: the results of tools are the user's, all of one round in one message."""
    messages: list[dict[str, Any]] = []
    for message in request.messages:
        if message.role == "tool":
            result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
            if messages and isinstance(messages[-1]["content"], list) and messages[-1]["role"] == "user":
                messages[-1]["content"].append(result)
            else:
                messages.append({"role": "user", "content": [result]})
        elif message.tool_calls:
            said = [{"type": "text", "text": message.content}] if message.content.strip() else []
            uses = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)}
                for call in message.tool_calls
            ]
            messages.append({"role": "assistant", "content": [*said, *uses]})
        else:
            messages.append({"role": message.role, "content": message.content})
    return messages


def _input(call: ToolCall) -> Any:
    """Return a call's arguments as an object. Where they are none, the tool's result says so already."""
    return json.loads(call.arguments or "{}") if is_object(call.arguments) else {}


def _tools(request: ChatRequest) -> Any:
    return [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in request.tools
    ]
