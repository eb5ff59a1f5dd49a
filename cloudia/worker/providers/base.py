"""What every provider is to the worker: a stream of pieces, and one kind of error."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

__all__ = [
    "Alive",
    "Cause",
    "ChatMessage",
    "ChatRequest",
    "FailureKind",
    "Finish",
    "FinishReason",
    "LlmUnavailableError",
    "NoAnswerError",
    "Piece",
    "Provider",
    "ProviderError",
    "Thinking",
    "Tool",
    "ToolCall",
    "Unsaid",
    "Usage",
    "is_object",
    "status_kind",
]

FailureKind: TypeAlias = Literal["unavailable", "rate_limited", "rejected"]
FinishReason: TypeAlias = Literal["stop", "length", "content_filter", "refusal", "tool_calls", "error"]
Cause: TypeAlias = Literal[
    "key", "quota", "forbidden", "model", "url", "context", "policy", "tools", "field", "deadline"
]
"""The key, the account's money, what the key may do, no such model, nothing at this URL, a conversation that is too long, one
that is against the rules, tools where there are none, a field of the request, a deadline of ours.
"""

_TOO_MANY = 429
_REQUEST_TIMEOUT = 408
_CONFLICT = 409
_SERVER_ERROR = 500


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
    """Tokens that were counted by the provider, each vendor's numbers brought into one form.

    Input is all input, output is all output: what was read from a cache or written to it, and what was spent on reasoning, are
    told as the parts of these that they are.
    """

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def to_json(self) -> dict[str, int]:
        """Return `{"input_tokens", "output_tokens"}`, and the parts that there are."""
        return {
            name: count for name, count in asdict(self).items() if count or name in {"input_tokens", "output_tokens"}
        }

    def __add__(self, other: Usage) -> Usage:
        """Return the usage of both together."""
        return Usage(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Usage)))


@dataclass(frozen=True, slots=True)
class Alive:
    """A sign of life that says nothing: a ping, a comment, the next part of a tool's arguments.

    `usage` is what was used so far, where that is known: of a stream that breaks off, it is all that will be.
    """

    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of the model's reasoning: no part of its answer."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Unsaid:
    """All text of this answer so far, which turned out to be the model's reasoning: it had begun in the prompt."""

    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Why the answer ended."""

    reason: FinishReason


Piece: TypeAlias = str | Thinking | Unsaid | ToolCall | Finish | Usage | Alive
"""What a stream yields: text and thinking as they come, and what of the text was none; then calls of tools when they are whole,
the finish, and the usage, the last of what was told. A sign of life where something came that is none of these.
"""


class ProviderError(Exception):
    """A call failed. Bears no text of the provider's, which may quote the conversation.

    `kind` says whose doing it was: `unavailable` (connection, 5xx, a stream that broke off or made no sense), `rate_limited`
    (429), or `rejected` (the same request would be refused again). `cause` is what is known beyond that, `advice` what whoever
    reads it can do, and `field` what of the request was refused by its name. `mended` says that the adapter has learned from
    that: the same call, made again, is another request. `retry_after` is in seconds.
    """

    def __init__(
        self,
        kind: FailureKind,
        reason: str,
        *,
        cause: Cause | None = None,
        advice: str = "",
        field: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.cause = cause
        self.advice = advice
        self.field = field
        self.mended = False
        self.status = status
        self.retry_after = retry_after


class NoAnswerError(Exception):
    """A call went well and ended without an answer: `finish` says why, in `reason` is what can be done about it."""

    def __init__(self, finish: FinishReason, reason: str) -> None:
        super().__init__(reason)
        self.finish: FinishReason = finish
        self.reason = reason


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

    def forget(self) -> None:
        """Forget what answers have taught of the way it is to be asked."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def is_object(arguments: str) -> bool:
    """Tell whether the arguments of a tool call are what they should be: an object, or nothing at all."""
    try:
        return isinstance(json.loads(arguments or "{}"), dict)
    except (ValueError, RecursionError):
        return False


def status_kind(status: int) -> FailureKind:
    """Return the kind of failure that an HTTP status is."""
    if status == _TOO_MANY:
        return "rate_limited"
    if status >= _SERVER_ERROR or status in {_REQUEST_TIMEOUT, _CONFLICT}:
        return "unavailable"
    return "rejected"
