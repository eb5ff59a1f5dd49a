"""The smallest responder: says what it was told, word by word."""

from collections.abc import AsyncIterator

from cloudia.worker import Turn


async def answer(turn: Turn) -> AsyncIterator[str]:
    """Echo the message."""
    yield f"**{turn.user_id}** said:"
    for word in turn.messages[-1].content.split():
        yield f" {word}"
