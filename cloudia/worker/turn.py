"""A turn: all that a responder gets to answer one message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from cloudia.worker.llm import LlmCall
    from cloudia.worker.providers.base import ChatMessage

__all__ = ["Responder", "Turn"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A user's message with what went before it; the last of `messages` is the one to answer."""

    job_id: str
    conversation_id: str
    user_id: str
    attempt: int
    """Counted from 1."""
    messages: tuple[ChatMessage, ...]
    llm: LlmCall
    cancelled: asyncio.Event
    """Set when the user pressed stop; the responder is cancelled too."""
    traceparent: str | None = None
    """The W3C trace context of the message, for spans of the responder's own; None where it has none."""


class Responder(Protocol):
    """What turns a job into an answer: an async function from a turn to chunks of text."""

    def __call__(self, turn: Turn) -> AsyncIterator[str]:
        """Yield the answer."""
        ...
