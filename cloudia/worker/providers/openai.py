"""OpenAI's Chat Completions, and whatever speaks like it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import openai

from cloudia.worker.providers.base import ChatRequest, Piece, ProviderError, Usage, retry_after, status_kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["OpenAIProvider"]


class OpenAIProvider:
    """The official SDK, streaming, with its own retries off: retries have one owner, and it is the worker."""

    name = "openai"

    def __init__(self, *, api_key: str, base_url: str, timeout: httpx2.Timeout) -> None:
        self._client = openai.AsyncOpenAI(api_key=api_key, base_url=base_url or None, max_retries=0, timeout=timeout)
        # OpenAI's newer models refuse the older name, and most that speak like OpenAI know only that.
        self._limit_name = "max_tokens" if base_url else "max_completion_tokens"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece]:  # noqa: C901 - a table of the SDK's errors
        """Yield text, then the usage. The SDK's errors become `ProviderError`."""
        messages: list[Any] = [{"role": message.role, "content": message.content} for message in request.messages]
        if request.system:
            messages.insert(0, {"role": "system", "content": request.system})
        finished = False
        try:
            chunks = await self._client.chat.completions.create(
                model=request.model,
                messages=messages,
                stream=True,
                stream_options={"include_usage": True},
                extra_headers=request.headers,
                extra_body={self._limit_name: request.max_tokens},
            )
            async with chunks:
                async for chunk in chunks:
                    for choice in chunk.choices:
                        if choice.delta.content:
                            yield choice.delta.content
                        finished = finished or choice.finish_reason is not None
                    if chunk.usage:
                        yield Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
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
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError) as error:
            raise ProviderError("unavailable", "openai answered with something that is not a completion") from error
        if not finished:
            raise ProviderError("unavailable", "openai's answer ended in the middle")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()
