"""Anthropic's Messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2

from cloudia.worker.providers.base import ChatRequest, Piece, ProviderError, Usage, retry_after, status_kind

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

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece]:  # noqa: C901 - a table of the SDK's errors
        """Yield text, then the usage. The SDK's errors become `ProviderError`."""
        messages: list[Any] = [{"role": message.role, "content": message.content} for message in request.messages]
        taken, finished = 0, False
        try:
            events = await self._client.messages.create(
                model=request.model,
                system=request.system or anthropic.omit,
                messages=messages,
                max_tokens=request.max_tokens,
                extra_headers=request.headers,
                stream=True,
            )
            async with events:
                async for event in events:
                    if event.type == "content_block_delta" and event.delta.type == "text_delta":
                        yield event.delta.text
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

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()
