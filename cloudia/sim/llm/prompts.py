"""What a request asks and what it is answered, free of either vendor's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["PROVIDERS", "Finish", "Prompt", "Provider", "Reply", "Role", "ToolCall", "Turn"]

Provider = Literal["openai", "anthropic"]
Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "stop_sequence", "length", "tool"]

PROVIDERS: tuple[Provider, ...] = ("openai", "anthropic")


@dataclass(frozen=True, slots=True)
class Turn:
    """One entry of the conversation as the request tells it; a tool's result has the role `tool`."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request. `turns` and `model` decide the answer, the rest how much of it is given and in what form."""

    model: str
    turns: tuple[Turn, ...]
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The call of one tool with its arguments, a JSON object."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. Each chunk is one token; joined they are the text, or a tool call's arguments as JSON."""

    reply_id: str
    chunks: tuple[str, ...]
    finish: Finish
    prompt_tokens: int
    tool_call: ToolCall | None = None
    stop_sequence: str | None = None

    @property
    def text(self) -> str:
        """Return the whole text."""
        return "".join(self.chunks)

    @property
    def completion_tokens(self) -> int:
        """Return the number of tokens."""
        return len(self.chunks)
