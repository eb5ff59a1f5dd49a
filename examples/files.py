"""A responder that retrieves: the paragraphs of `knowledge/*.md` that share the most words with the question go along."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

from cloudia.worker import ChatMessage, Turn

KNOWLEDGE = Path("knowledge")
MOST = 3


def words(text: str) -> set[str]:
    """Return the words of a text that say something."""
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 3}


def retrieve(question: str) -> list[str]:
    """Return the paragraphs that fit a question best, the best first."""
    asked = words(question)
    paragraphs = [part for path in sorted(KNOWLEDGE.glob("*.md")) for part in path.read_text().split("\n\n")]
    ranked = sorted(paragraphs, key=lambda part: len(asked & words(part)), reverse=True)
    return [part.strip() for part in ranked[:MOST] if asked & words(part)]


async def answer(turn: Turn) -> AsyncIterator[str]:
    """Answer from what the files say."""
    *before, question = turn.messages
    found = retrieve(question.content)
    sources = "\n\n".join(found) or "(nothing was found)"
    prompt = f"{question.content}\n\nAnswer from these notes:\n\n{sources}"
    async for text in turn.llm.stream([*before, ChatMessage("user", prompt)]):
        yield text
