"""The configured LLM: which provider and model, with what key, and the deadlines of a call."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2

from cloudia.errors import UsageError
from cloudia.worker.providers.base import ChatRequest, ProviderError, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from cloudia.cloud.parameters import Parameters
    from cloudia.settings import Settings
    from cloudia.stack import Stack
    from cloudia.worker.providers.base import ChatMessage, Provider

__all__ = ["DEFAULT_MODELS", "Llm", "LlmCall", "make_provider"]

DEFAULT_MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5"}


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a call may take, in seconds. The deadline of the whole answer is the attempt's."""

    first_token: float
    gap: float


class Llm:
    """A provider with its model. One per process; `call` makes the handle that one turn uses."""

    def __init__(self, provider: Provider, settings: Settings) -> None:
        self.provider = provider
        self.model = settings.llm_model or DEFAULT_MODELS[provider.name]
        self._system = settings.llm_system_prompt
        self._max_tokens = settings.llm_max_tokens
        self._deadlines = Deadlines(settings.llm_first_token_seconds, settings.llm_gap_seconds)

    def call(self, *, job_id: str, attempt: int) -> LlmCall:
        """Return the handle of one attempt; it counts what the attempt uses."""
        headers = {"x-cloudia-job-id": job_id, "x-cloudia-attempt": str(attempt)}
        return LlmCall(
            self.provider,
            model=self.model,
            system=self._system,
            max_tokens=self._max_tokens,
            deadlines=self._deadlines,
            headers=headers,
        )

    async def aclose(self) -> None:
        """Close the provider's connections."""
        await self.provider.aclose()


class LlmCall:
    """The LLM as one turn sees it. `usage` adds up over its calls; None until a provider has told any."""

    def __init__(
        self,
        provider: Provider,
        *,
        model: str,
        system: str,
        max_tokens: int,
        deadlines: Deadlines,
        headers: Mapping[str, str],
    ) -> None:
        self._provider = provider
        self._system = system
        self._max_tokens = max_tokens
        self._deadlines = deadlines
        self._headers = headers
        self.model = model
        self.usage: Usage | None = None

    @property
    def provider_name(self) -> str:
        """The provider that answers."""
        return self._provider.name

    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncIterator[str]:
        """Yield the answer to `messages` as it comes. Raises `ProviderError`, also where a deadline passed."""
        request = ChatRequest(self.model, self._system, tuple(messages), self._max_tokens, self._headers)
        patience, waiting_for = self._deadlines.first_token, "first token"
        async with aclosing(self._provider.stream(request)) as pieces:  # type: ignore[type-var]
            while True:
                try:
                    async with asyncio.timeout(patience):
                        piece = await anext(pieces, None)
                except TimeoutError as error:
                    raise ProviderError("unavailable", f"no {waiting_for} within {patience:g} s") from error
                if piece is None:
                    return
                if isinstance(piece, Usage):
                    self._count(piece)
                elif piece:
                    patience, waiting_for = self._deadlines.gap, "further token"
                    yield piece

    def _count(self, usage: Usage) -> None:
        before = self.usage or Usage(0, 0)
        self.usage = Usage(before.input_tokens + usage.input_tokens, before.output_tokens + usage.output_tokens)


def make_provider(settings: Settings, parameters: Parameters, stack: Stack) -> Provider:
    """Return the configured provider. Its SDK is imported only here. Blocks; `UsageError` where there is no key."""
    # A read may last as long as the first token may take; the deadlines above are tighter where it matters.
    slowest = max(settings.llm_first_token_seconds, settings.llm_gap_seconds) + 5
    timeout = httpx2.Timeout(slowest, connect=settings.llm_connect_seconds)
    if settings.llm_provider == "anthropic":
        key = settings.anthropic_api_key or parameters.get(stack.anthropic_api_key)
        from cloudia.worker.providers.anthropic import AnthropicProvider  # noqa: PLC0415 - 1 s of import

        return AnthropicProvider(
            api_key=_required(key, "anthropic"), base_url=settings.anthropic_base_url, timeout=timeout
        )
    key = settings.openai_api_key or parameters.get(stack.openai_api_key)
    from cloudia.worker.providers.openai import OpenAIProvider  # noqa: PLC0415 - 0.4 s of import

    return OpenAIProvider(api_key=_required(key, "openai"), base_url=settings.openai_base_url, timeout=timeout)


def _required(key: str | None, provider: str) -> str:
    if not key:
        raise UsageError(
            f"there is no API key of {provider}",
            hint=f"Set {provider.upper()}_API_KEY, or use --llm sim.",
            code="no_api_key",
        )
    return key
