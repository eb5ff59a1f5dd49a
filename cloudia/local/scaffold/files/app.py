"""How this backend answers: one async function, from a turn of a conversation to text."""

from collections.abc import AsyncIterator

from cloudia.worker import Turn

HELP = "Ask me anything. `/help` shows this text."


async def answer(turn: Turn) -> AsyncIterator[str]:
    """Answer one message. What is yielded reaches the user at once."""
    if turn.messages[-1].content.strip() == "/help":
        yield HELP
        return
    async for text in turn.llm.stream(turn.messages):  # with time limits, retries and the conversation so far
        yield text
