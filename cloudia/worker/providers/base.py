"""What every provider is to the worker: a stream of pieces, and one kind of error."""

from __future__ import annotations

import email.utils
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

__all__ = [
    "ChatMessage",
    "ChatRequest",
    "FailureKind",
    "LlmUnavailableError",
    "Piece",
    "Provider",
    "ProviderError",
    "Tool",
    "ToolCall",
    "Usage",
    "retry_after",
    "status_kind",
]

FailureKind: TypeAlias = Literal["unavailable", "rate_limited", "rejected"]

_TOO_MANY = 429
_REQUEST_TIMEOUT = 408
_CONFLICT = 409
_SERVER_ERROR = 500
_MAX_RETRY_AFTER = 600.0


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the LLM may call: what it is told of it, and what is called."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments, an object."""
    call: Callable[..., Awaitable[str]]
    """Gets the arguments by name; what it returns goes back to the LLM."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The LLM's wish to call a tool."""

    id: str
    name: str
    arguments: str
    """JSON, as the LLM wrote it."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message as an LLM sees it; a `tool` message is the result of the call `tool_call_id`."""

    role: Literal["user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call of an LLM."""

    model: str
    system: str
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    tools: tuple[Tool, ...]
    headers: Mapping[str, str]
    """Which attempt at which job this is, for whoever stands between here and the LLM."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that were counted by the provider."""

    input_tokens: int
    output_tokens: int

    def to_json(self) -> dict[str, int]:
        """Return `{"input_tokens", "output_tokens"}`."""
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}


Piece: TypeAlias = str | ToolCall | Usage
"""What a stream yields: text as it comes, calls of tools when they are whole, and the usage once it is known."""


class ProviderError(Exception):
    """A call failed. Bears no text of the provider's, which may quote the conversation.

    `kind` says whose doing it was: `unavailable` (connection, 5xx, a stream that broke off or made no sense), `rate_limited`
    (429), or `rejected` (another 4xx: the same request would be refused again). `retry_after` is in seconds.
    """

    def __init__(
        self, kind: FailureKind, reason: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.status = status
        self.retry_after = retry_after


class LlmUnavailableError(Exception):
    """No provider was called, because each one's breaker is open. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the breaker is open")
        self.retry_after = retry_after


class Provider(Protocol):
    """An LLM API."""

    name: str

    def stream(self, request: ChatRequest) -> AsyncGenerator[Piece]:
        """Yield the answer as it comes. Raises `ProviderError`; closing the iterator closes the connection."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def status_kind(status: int) -> FailureKind:
    """Return the kind of failure that an HTTP status is."""
    if status == _TOO_MANY:
        return "rate_limited"
    if status >= _SERVER_ERROR or status in {_REQUEST_TIMEOUT, _CONFLICT}:
        return "unavailable"
    return "rejected"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for, as a number or a date (RFC 9110, 10.2.3); at most ten minutes."""
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER) if seconds == seconds else None  # noqa: PLR0124 - not a NaN
