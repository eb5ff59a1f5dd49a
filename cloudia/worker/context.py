"""The context of a turn: what of the conversation the LLM gets to see."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cloudia import ids, telemetry
from cloudia.errors import UnavailableError
from cloudia.protocol import Message, QueuedJob
from cloudia.worker.providers.base import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.cloud.cache import ContextCache
    from cloudia.cloud.history import History

__all__ = ["Contexts", "chat_messages"]


class Contexts:
    """Reads contexts from the cache, else from the history, and keeps the cache warm."""

    def __init__(self, history: History, cache: ContextCache | None, *, most: int) -> None:
        self._history = history
        self._cache = cache
        self._most = most

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

    async def remember(self, job: QueuedJob, before: Sequence[Message], reply: Message) -> None:
        """Cache the conversation through this turn. Without Redis nothing is lost: the history has it."""
        if not self._cache:
            return
        own = Message(job.message_id, job.conversation_id, "user", job.content, ids.iso(job.accepted_at), job.job_id)
        try:
            await self._cache.put(
                job.conversation_id, through=job.message_id, messages=[*before, own, reply][-self._most :]
            )
        except UnavailableError as error:
            telemetry.log("context not cached", level=logging.DEBUG, code=error.code)


def chat_messages(before: Sequence[Message], job: QueuedJob) -> tuple[ChatMessage, ...]:
    """Return what the LLM is sent: the turns that have ended, then the message to answer.

    A failed turn keeps its question, so that a later message may refer to it. A turn that has not ended is left out: its
    message was accepted at the same moment and is answered on its own. A text of white space is no message: Anthropic refuses
    it, and would refuse every later turn.
    """
    ended = {message.job_id for message in before if message.role == "assistant"}
    chat = [
        ChatMessage(message.role, message.content)
        for message in before
        if message.content.strip() and message.job_id in ended
    ]
    while chat and chat[0].role == "assistant":  # The cut may fall between a question and its answer.
        chat.pop(0)
    return (*chat, ChatMessage("user", job.content))
