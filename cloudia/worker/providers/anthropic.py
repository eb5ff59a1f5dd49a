"""Anthropic's Messages."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2

from cloudia.worker.providers.base import ChatRequest, Piece, ProviderError, ToolCall, Usage, retry_after, status_kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["AnthropicProvider"]


class AnthropicProvider:
    """The official SDK, streaming, with its own retries off: retries have one owner, and it is the worker."""

    name = "anthropic"

    def __init__(self, *, api_key: str, base_url: str, timeout: httpx2.Timeout) -> None:
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key, base_url=base_url or None, max_retries=0, timeout=timeout
        )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece]:  # noqa: C901, PLR0912 - tables of the SDK's events and errors
        """Yield text, then the usage. The SDK's errors become `ProviderError`."""
        taken, finished = 0, False
        calls: dict[int, ToolCall] = {}
        try:
            events = await self._client.messages.create(
                model=request.model,
                system=request.system or anthropic.omit,
                messages=_messages(request),
                tools=_tools(request) or anthropic.omit,
                max_tokens=request.max_tokens,
                extra_headers=request.headers,
                stream=True,
            )
            async with events:
                async for event in events:
                    if event.type == "content_block_delta" and event.delta.type == "text_delta":
                        yield event.delta.text
                    elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                        before = calls[event.index]
                        calls[event.index] = replace(before, arguments=before.arguments + event.delta.partial_json)
                    elif event.type == "content_block_start" and event.content_block.type == "tool_use":
                        calls[event.index] = ToolCall(event.content_block.id, event.content_block.name, "")
                    elif event.type == "message_start":
                        taken = event.message.usage.input_tokens
                    elif event.type == "message_delta":
                        yield Usage(taken, event.usage.output_tokens)
                    elif event.type == "message_stop":
                        finished = True
        except anthropic.APIStatusError as error:
            # An error in mid-stream arrives under the stream's own status, 200.
            status = error.status_code if error.status_code >= 400 else 529  # noqa: PLR2004
            raise ProviderError(
                status_kind(status),
                f"anthropic answered {status}",
                status=status,
                retry_after=retry_after(error.response.headers),
            ) from error
        except anthropic.APITimeoutError as error:
            raise ProviderError("unavailable", "anthropic did not answer in time") from error
        except (anthropic.APIError, httpx2.HTTPError) as error:
            raise ProviderError("unavailable", f"the call to anthropic broke off ({type(error).__name__})") from error
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError) as error:
            raise ProviderError("unavailable", "anthropic answered with something that is not a message") from error
        if not finished:
            raise ProviderError("unavailable", "anthropic's answer ended in the middle")
        for call in calls.values():
            yield call

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


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
