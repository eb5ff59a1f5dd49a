"""Text as providers send it: cut inside a character, and with what a model thought before its answer in the same field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudia.worker.providers.base import Thinking

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Joiner", "Speech", "whole"]

_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "[THINK]": "[/THINK]",
}
"""DeepSeek's, Qwen's and others'; some models' of Anthropic and Amazon; Gemini's; Mistral's."""
_STRAY = tuple(_TAGS.values())
"""An end whose beginning was in the prompt, or was taken away by the server with what followed it."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_FIRST_HALF = re.compile("[\ud800-\udbff]$")


def whole(text: str) -> str:
    """Return text that can be encoded: halves that belong together are one character, others the replacement character."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Joiner:
    """Holds the first half of a character back until the other half comes."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, text: str) -> str:
        """Return what is whole by now."""
        text, self._held = self._held + text, ""
        if not text.isascii() and (half := _FIRST_HALF.search(text)):
            text, self._held = text[: half.start()], half[0]
        return whole(text)

    def rest(self) -> str:
        """Return what is left at the end."""
        held, self._held = self._held, ""
        return whole(held)


class Speech:
    """The text of one answer, cut anywhere: what stands between tags before it is thinking, and no text.

    In the midst of an answer a tag is text: it may be what the answer is about.
    """

    def __init__(self) -> None:
        self._joiner = Joiner()
        self._held = ""
        self._end = ""
        """The tag that ends the thinking under way."""
        self._thought = self._said = False

    def add(self, text: str) -> Iterator[str | Thinking]:
        """Yield what is known of the text by now."""
        text = self._joiner.add(text)
        if self._said:
            if text:
                yield text
            return
        self._held += text
        yield from self._begin()

    def rest(self) -> Iterator[str | Thinking]:
        """Yield what is left at the end."""
        held, self._held = self._held + self._joiner.rest(), ""
        if held and self._end:
            yield Thinking(held)
        elif held and not (self._thought and held.isspace()):
            yield held

    def _begin(self) -> Iterator[str | Thinking]:
        """Yield what the held text is, but for what may be half a tag."""
        while self._held:
            if self._end:
                thought, found, after = self._held.partition(self._end)
                if not found:
                    keep = _overlap(thought, self._end)
                    thought, self._held = thought[: len(thought) - keep], thought[len(thought) - keep :]
                    if thought:
                        yield Thinking(thought)
                    return
                self._held, self._end = after, ""
                yield Thinking(thought)
                continue
            text = self._held.lstrip()
            tag = next((tag for tag in (*_TAGS, *_STRAY) if text.startswith(tag)), None)
            if tag:
                self._held, self._end, self._thought = text[len(tag) :], _TAGS.get(tag, ""), True
                continue
            if not text or any(tag.startswith(text) for tag in (*_TAGS, *_STRAY)):
                return
            said, self._held, self._said = text if self._thought else self._held, "", True
            yield said


def _overlap(text: str, tag: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a tag."""
    return next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)
