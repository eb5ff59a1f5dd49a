"""OpenAI's Chat Completions, and whatever speaks like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import openai

from cloudia.worker.providers.base import ChatRequest, Piece, ProviderError, ToolCall, Usage, retry_after, status_kind
from cloudia.worker.providers.sse import objects

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["OpenAIProvider"]


class OpenAIProvider:
    """The official SDK, streaming, with its own retries off: retries have one owner, and it is the worker.

    Over aiohttp, the SDK's other transport, a stream costs the worker little more than half of the CPU.
    """

    name = "openai"

    def __init__(self, *, api_key: str, base_url: str, timeout: httpx2.Timeout) -> None:
        self._client = openai.AsyncOpenAI(
            api_key=api_key,
            base_url=base_url or None,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAioHttpClient(timeout=timeout),
        )
        # OpenAI's newer models refuse the older name, and most that speak like OpenAI know only that.
        self._limit_name = "max_tokens" if base_url else "max_completion_tokens"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece]:  # noqa: C901 - a table of the SDK's errors
        """Yield text, calls of tools, then the usage. The SDK's errors become `ProviderError`."""
        finished = False
        calls: dict[int, ToolCall] = {}
        try:
            async with self._client.chat.completions.with_streaming_response.create(
                model=request.model,
                messages=_messages(request),
                tools=_tools(request) or openai.omit,
                stream=True,
                stream_options={"include_usage": True},
                extra_headers=request.headers,
                extra_body={self._limit_name: request.max_tokens},
            ) as response:
                async for chunk in objects(response.http_response.aiter_bytes()):
                    if "error" in chunk:
                        raise ProviderError("unavailable", "openai reported an error in mid-stream")
                    for choice in chunk.get("choices") or ():
                        delta = choice.get("delta") or {}
                        if delta.get("content"):
                            yield delta["content"]
                        for part in delta.get("tool_calls") or ():
                            calls[part["index"]] = _joined(calls.get(part["index"]), part)
                        finished = finished or choice.get("finish_reason") is not None
                    if chunk.get("usage"):
                        yield Usage(chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"])
        except openai.APIStatusError as error:
            raise ProviderError(
                status_kind(error.status_code),
                f"openai answered {error.status_code}",
                status=error.status_code,
                retry_after=retry_after(error.response.headers),
            ) from error
        except openai.APITimeoutError as error:
            raise ProviderError("unavailable", "openai did not answer in time") from error
        except (openai.APIError, httpx2.HTTPError) as error:
            raise ProviderError("unavailable", f"the call to openai broke off ({type(error).__name__})") from error
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ProviderError("unavailable", "openai answered with something that is not a completion") from error
        if not finished:
            raise ProviderError("unavailable", "openai's answer ended in the middle")
        for call in calls.values():
            yield call

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _messages(request: ChatRequest) -> Any:
    """Return the messages in OpenAI's form."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": request.system}] if request.system else []
    for message in request.messages:
        entry: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            entry["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.tool_calls
            ]
        if message.tool_call_id:
            entry["tool_call_id"] = message.tool_call_id
        messages.append(entry)
    return messages


def _tools(request: ChatRequest) -> Any:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in request.tools
    ]


def _joined(before: ToolCall | None, part: dict[str, Any]) -> ToolCall:
    """Return a call with one more part of it; the first brings the id and the name, all bring arguments."""
    sofar = before or ToolCall("", "", "")
    function = part.get("function") or {}
    return ToolCall(
        part.get("id") or sofar.id,
        function.get("name") or sofar.name,
        sofar.arguments + (function.get("arguments") or ""),
    )
