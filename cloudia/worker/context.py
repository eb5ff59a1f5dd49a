"""The context of a turn: what of the conversation the LLM gets to see."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from cloudia import ids, telemetry
from cloudia.errors import UnavailableError
from cloudia.protocol import Message, QueuedJob
from cloudia.worker.providers.base import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudia.cloud.cache import ContextCache
    from cloudia.cloud.history import History
    from cloudia.worker.providers.base import ChatRequest

__all__ = [
    "BYTES_A_TOKEN",
    "Contexts",
    "alternating",
    "chat_messages",
    "most_tokens",
    "shortened",
    "size",
    "tokens",
    "unanswered",
    "within",
]

BYTES_A_TOKEN = 3
"""What is assumed of a text, rather too little."""
_MESSAGE_TOKENS = 4
"""What a message costs beside its text."""
_QUESTION_FAILED = frozenset({"llm_context_exceeded", "llm_content_refused"})


class Contexts:
    """Reads contexts from the cache, else from the history, and keeps the cache warm."""

    def __init__(self, history: History, cache: ContextCache | None, *, most: int, most_tokens: int) -> None:
        self._history = history
        self._cache = cache
        self._most = most
        self._most_tokens = most_tokens

    async def before(self, job: QueuedJob) -> list[Message]:
        """Return the messages before a job's own, oldest first. `UnavailableError` where the history is away."""
        if job.previous_message_id is None:
            return []
        if self._cache:
            try:
                cached = await self._cache.get(job.conversation_id, through=job.previous_message_id)
            except UnavailableError:
                cached = None
            if cached is not None:
                return cached
        return await asyncio.to_thread(self._history.before, job.conversation_id, job.message_id, limit=self._most)

    def beside(self, job: QueuedJob, before: Sequence[Message]) -> list[Message]:
        """Return the last of the messages before a job's own: as many as an LLM has room for beside it."""
        return within(before, self._most_tokens - tokens(job.content))

    async def remember(self, job: QueuedJob, before: Sequence[Message], reply: Message) -> None:
        """Cache the conversation through this turn. Without Redis nothing is lost: the history has it."""
        if not self._cache:
            return
        own = Message(job.message_id, job.conversation_id, "user", job.content, ids.iso(job.accepted_at), job.job_id)
        kept = within([*before, own, reply][-self._most :], self._most_tokens)
        try:
            await self._cache.put(job.conversation_id, through=job.message_id, messages=kept)
        except UnavailableError as error:
            telemetry.log("context not cached", level=logging.DEBUG, code=error.code)


def unanswered(before: Sequence[Message]) -> list[Message]:
    """Return the questions without an answer, oldest first: their turns have not ended. The cache has none of these."""
    answered = {message.job_id for message in before if message.role == "assistant"}
    return [message for message in before if message.role == "user" and message.job_id not in answered]


def tokens(text: str) -> int:
    """Return about how many tokens a text is, rather too many: a tokenizer is the model's own, and none is at hand.

    English has four bytes or more to a token, code and most other languages three.
    """
    return len(text.encode()) // BYTES_A_TOKEN + _MESSAGE_TOKENS


def size(request: ChatRequest) -> int:
    """Return about how many tokens a request is, rather too many."""
    return sum(tokens(text) for text in _texts(request))


def most_tokens(request: ChatRequest) -> int:
    """Return how many tokens a request is at most: a token is a byte at least."""
    return sum(len(text.encode()) + 2 * _MESSAGE_TOKENS for text in _texts(request))


def _texts(request: ChatRequest) -> Iterator[str]:
    yield request.system
    for tool in request.tools:
        yield json.dumps([tool.name, tool.description, tool.parameters], ensure_ascii=False)
    for message in request.messages:
        yield message.content
        yield from (f"{call.id}{call.name}{call.arguments}" for call in message.tool_calls)


def within(messages: Sequence[Message], most_tokens: int) -> list[Message]:
    """Return the last of the messages that are `most_tokens` together at most. None is cut."""
    left, kept = most_tokens, []
    for message in reversed(messages):
        left -= tokens(message.content)
        if left < 0:
            break
        kept.append(message)
    return kept[::-1]


def chat_messages(before: Sequence[Message], job: QueuedJob) -> tuple[ChatMessage, ...]:
    """Return what the LLM is sent: the turns that have ended, then the message to answer.

    A failed turn keeps its question, so that a later message may refer to it, unless it was the question that failed: it would
    fail every later turn. A turn that has not ended is left out: its message was accepted at the same moment and is answered on
    its own. A text of white space is no message: Anthropic refuses it, and would refuse every later turn.
    """
    ended = {
        message.job_id
        for message in before
        if message.role == "assistant" and (message.error or {}).get("code") not in _QUESTION_FAILED
    }
    chat = [
        ChatMessage(message.role, message.content)
        for message in before
        if message.content.strip() and message.job_id in ended
    ]
    while chat and chat[0].role == "assistant":  # The cut may fall between a question and its answer.
        chat.pop(0)
    return (*chat, ChatMessage("user", job.content))


def alternating(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the messages as each LLM takes them: none is blank, and questions that stand behind each other are one.

    The templates of many models demand that user and assistant take turns.
    """
    chat: list[ChatMessage] = []
    for message in messages:
        plain = not message.tool_calls and message.role != "tool"
        if plain and not message.content.strip():
            continue
        if plain and chat and chat[-1].role == message.role and not chat[-1].tool_calls:
            message = ChatMessage(message.role, f"{chat.pop().content}\n\n{message.content}")  # noqa: PLW2901
        chat.append(message)
    return chat


def shortened(chat: Sequence[ChatMessage]) -> list[ChatMessage] | None:
    """Return a conversation without its oldest turns, about half of its text; None where nothing can go.

    The last question stays, with what tools have told since. What is left begins with a question, as the whole does.
    """
    questions = [place for place, message in enumerate(chat) if message.role == "user"]
    if len(questions) < 2:  # noqa: PLR2004 - the one that is to be answered
        return None
    sizes = [len(message.content) for message in chat]
    half = sum(sizes) / 2
    return list(chat[next((place for place in questions[1:] if sum(sizes[place:]) <= half), questions[-1]) :])
