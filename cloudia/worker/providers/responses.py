"""OpenAI's Responses API, and whatever speaks like it.

Nothing is stored at the provider: each request has the whole conversation, as those of the other APIs have.
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.worker.providers.base import Alive, ChatRequest, Finish, FinishReason, Piece, Thinking, ToolCall, is_object
from cloudia.worker.providers.openai import OpenAIProvider
from cloudia.worker.providers.text import Speech, Template, whole
from cloudia.worker.providers.usage import openai_usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from openai import AsyncAPIResponse

    from cloudia.worker.providers.base import Usage
    from cloudia.worker.providers.reading import Events

__all__ = ["ResponsesProvider"]

_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ResponsesProvider(OpenAIProvider):
    """The same SDK, asked for responses."""

    path = "/responses"
    needed = frozenset({"model", "input", "instructions", "stream", "tools"})

    def _opened(
        self, body: dict[str, Any], headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        return self._client.responses.with_streaming_response.create(
            model=body["model"], input=body["input"], stream=True, extra_headers=headers, extra_body=body
        )

    def _events(self) -> Events:
        return _State(self._template)

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model,
            "input": list(_items(request)),
            "stream": True,
            "store": False,
            "max_output_tokens": request.max_tokens,
            **({"instructions": request.system} if request.system else {}),
            **({"tools": _tools(request)} if request.tools else {}),
            **self._extra,
        }
        return self._without_refused(body)

    def _spare(self, body: dict[str, Any]) -> set[str]:
        return set(body) - self.needed


class _State:
    """What the events of a stream have said so far."""

    def __init__(self, template: Template) -> None:
        self.stopped = False
        """Whether the event has come that ends a response, whole or not."""
        self._finish: FinishReason = "stop"
        self._refused = self._said = False
        self._calls: dict[int, _Call] = {}
        """By the index of their item."""
        self._usage: Usage | None = None
        self._speech = Speech(template)

    @property
    def finished(self) -> bool:
        """Whether the answer is whole."""
        return self.stopped

    def take(self, event: dict[str, Any]) -> Iterator[Piece]:
        """Take an event. Yield what it brings, a sign of life at least."""
        brought = False
        for piece in self._pieces(event):
            brought = True
            yield piece
        if not brought:
            yield Alive(self._usage)

    def _pieces(self, event: dict[str, Any]) -> Iterator[Piece]:
        match event.get("type"):
            case "response.output_text.delta":
                yield from self._text(event["delta"])
            case "response.refusal.delta":
                self._refused = True
                yield from self._text(event["delta"])
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                thought = event.get("delta")
                yield Thinking(whole(thought) if isinstance(thought, str) else "")
            case "response.output_item.added" | "response.output_item.done":
                yield from self._item(event.get("output_index", len(self._calls)), event["item"])
            case "response.function_call_arguments.delta":
                if call := self._calls.get(event.get("output_index", -1)):
                    call.parts.append(event["delta"])
            case "response.completed" | "response.incomplete":
                yield from self._end(event["response"])
            case None if event.get("object") == "response":  # A whole response, of a server that does not stream.
                yield from self._end(event)

    def _text(self, text: Any) -> Iterator[Piece]:
        if not isinstance(text, str):
            raise TypeError("the text is no text")
        self._said = self._said or bool(text)
        return self._speech.add(text)

    def _item(self, index: int, item: dict[str, Any]) -> Iterator[Piece]:
        """Take an item as it begins, or as it is whole."""
        match item.get("type"):
            case "function_call":
                call_id = item.get("call_id") or item.get("id") or ""
                call = next((call for call in self._calls.values() if call.id == call_id), None)
                call = call or self._calls.setdefault(index, _Call(call_id, item["name"]))
                if item.get("arguments"):
                    call.parts = [item["arguments"]]
            case "reasoning":
                yield Thinking()

    def _end(self, response: dict[str, Any]) -> Iterator[Piece]:
        """Take a response as it is at its end: what the events before it have not told is in it, too."""
        self._usage = openai_usage(response.get("usage")) or self._usage
        for index, item in enumerate(response.get("output") or ()):
            yield from self._item(index, item)
            if item.get("type") != "message" or self._said:
                continue
            for part in item.get("content") or ():
                self._refused = self._refused or part.get("type") == "refusal"
                yield from self._speech.add(part.get("text") or part.get("refusal") or "")
        details = response.get("incomplete_details") or {}
        if response.get("status") == "incomplete" or details:
            self._finish = _INCOMPLETE.get(str(details.get("reason")), "length")
        self.stopped = True

    def end(self, *, done: bool) -> Iterator[Piece]:  # noqa: ARG002 - the end of a response is an event of its own
        """Take the end. Yield what comes last."""
        if self.stopped:
            yield from self._speech.rest(cut=self._finish == "length")
            for number, call in enumerate(self._calls.values()):
                yield ToolCall(call.id or f"call_{number}", call.name, whole("".join(call.parts)))
            yield Finish(self._reason())
        if self._usage:
            yield self._usage

    def _reason(self) -> FinishReason:
        if self._finish != "stop":
            return self._finish
        return "refusal" if self._refused else "tool_calls" if self._calls else "stop"


class _Call:
    """A call of a tool whose arguments are coming."""

    def __init__(self, call_id: str, name: str) -> None:
        self.id = call_id
        self.name = name
        self.parts: list[str] = []


def _items(request: ChatRequest) -> Iterator[dict[str, Any]]:
    """Yield the conversation as items. Calls are without the ids of their items, for their reasoning is not sent again."""
    for message in request.messages:
        if message.role == "tool":
            yield {"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}
            continue
        if message.content.strip() or not message.tool_calls:
            yield {"role": message.role, "content": message.content}
        for call in message.tool_calls:
            arguments = call.arguments if is_object(call.arguments) else "{}"
            yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments or "{}"}


def _tools(request: ChatRequest) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": False,
        }
        for tool in request.tools
    ]
