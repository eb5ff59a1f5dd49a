"""Anthropic's Messages."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2

from cloudia.worker.providers.base import ChatRequest, Piece, ProviderError, ToolCall, Usage, retry_after, status_kind
from cloudia.worker.providers.sse import objects

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["AnthropicProvider"]


class AnthropicProvider:
    """The official SDK over aiohttp, streaming, with its own retries off: retries have one owner, and it is the worker."""

    name = "anthropic"

    def __init__(self, *, api_key: str, base_url: str, timeout: httpx2.Timeout) -> None:
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url or None,
            max_retries=0,
            timeout=timeout,
            http_client=anthropic.DefaultAioHttpClient(timeout=timeout),
        )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece]:
        """Yield text, calls of tools, then the usage. The SDK's errors become `ProviderError`."""
        state = _State()
        try:
            async with self._client.messages.with_streaming_response.create(
                model=request.model,
                system=request.system or anthropic.omit,
                messages=_messages(request),
                tools=_tools(request) or anthropic.omit,
                max_tokens=request.max_tokens,
                extra_headers=request.headers,
                stream=True,
            ) as response:
                async for event in objects(response.http_response.aiter_bytes()):
                    piece = state.take(event)
                    if piece:
                        yield piece
        except anthropic.APIStatusError as error:
            raise ProviderError(
                status_kind(error.status_code),
                f"anthropic answered {error.status_code}",
                status=error.status_code,
                retry_after=retry_after(error.response.headers),
            ) from error
        except anthropic.APITimeoutError as error:
            raise ProviderError("unavailable", "anthropic did not answer in time") from error
        except (anthropic.APIError, httpx2.HTTPError) as error:
            raise ProviderError("unavailable", f"the call to anthropic broke off ({type(error).__name__})") from error
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ProviderError("unavailable", "anthropic answered with something that is not a message") from error
        if not state.finished:
            raise ProviderError("unavailable", "anthropic's answer ended in the middle")
        for call in state.calls.values():
            yield call

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


class _State:
    """What the events of a stream have said so far."""

    def __init__(self) -> None:
        self.calls: dict[int, ToolCall] = {}
        self.finished = False
        self._taken = 0

    def take(self, event: dict[str, Any]) -> Piece | None:
        """Take an event. Return the text or the usage that it brings."""
        match event["type"]:
            case "content_block_delta" if event["delta"]["type"] == "text_delta":
                return str(event["delta"]["text"])
            case "content_block_delta" if event["delta"]["type"] == "input_json_delta":
                before = self.calls[event["index"]]
                self.calls[event["index"]] = replace(
                    before, arguments=before.arguments + event["delta"]["partial_json"]
                )
            case "content_block_start" if event["content_block"]["type"] == "tool_use":
                block = event["content_block"]
                self.calls[event["index"]] = ToolCall(block["id"], block["name"], "")
            case "message_start":
                self._taken = event["message"]["usage"]["input_tokens"]
            case "message_delta":
                return Usage(self._taken, event["usage"]["output_tokens"])
            case "message_stop":
                self.finished = True
            case "error":
                raise ProviderError("unavailable", "anthropic reported an error in mid-stream")
        return None


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
            said = [{"type": "text", "text": message.content}] if message.content else []
            uses = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments or "{}")}
                for call in message.tool_calls
            ]
            messages.append({"role": "assistant", "content": [*said, *uses]})
        else:
            messages.append({"role": message.role, "content": message.content})
    return messages


def _tools(request: ChatRequest) -> Any:
    return [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in request.tools
    ]
