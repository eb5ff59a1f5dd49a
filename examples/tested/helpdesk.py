"""A help desk: answers from its opening hours, hands the rest to the LLM, and never without a way to reach a person."""

from collections.abc import AsyncIterator

from cloudia.worker import ChatMessage, Turn

HOURS = "We are open from 9 to 17, Monday to Friday."
FOOTER = "\n\nA person answers at help@example.com."
TONE = "Answer a customer, in one paragraph: "


async def answer(turn: Turn) -> AsyncIterator[str]:
    """Answer one customer."""
    *before, asked = turn.messages
    if "open" in asked.content.lower().split():
        yield HOURS
        return
    async for text in turn.llm.stream([*before, ChatMessage("user", TONE + asked.content)]):
        yield text
    yield FOOTER
