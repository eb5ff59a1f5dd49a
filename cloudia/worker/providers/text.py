"""Text as providers send it: cut inside a character, and with what a model thought before its answer in the same field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudia.worker.providers.base import Thinking, Unsaid

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Joiner", "Speech", "Template", "whole"]

_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "[THINK]": "[/THINK]",
}
"""DeepSeek's, Qwen's and others'; some models' of Anthropic and Amazon; Gemini's; Mistral's."""
_STRAY = tuple(_TAGS.values())
"""An end whose beginning was in the prompt, or was taken away by the server with what followed it."""
_PROMPTED = "</think>"
"""The end of thinking whose beginning a chat template puts into the prompt: DeepSeek's, Qwen's and others'."""
_MOST = 400_000
"""Characters that are kept until it is known what they are; no answer that can be recorded has more."""

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


class Template:
    """What the answers of a route have shown of its chat template. An adapter has one, and each answer goes by it."""

    def __init__(self) -> None:
        self.thinks = False
        """Whether it begins the thinking in the prompt, so that an answer begins within it."""

    def forget(self) -> None:
        """Take it for one that has shown nothing."""
        self.thinks = False


class Speech:
    """The text of one answer, cut anywhere: what stands between tags before it is thinking, and no text.

    In the midst of an answer a tag is text: it may be what the answer is about. But an end of thinking that begins a line,
    where none has begun, says that the prompt began it: all text before was thinking, and the next answers begin so.
    """

    def __init__(self, template: Template | None = None) -> None:
        self._template = template or Template()
        self._joiner = Joiner()
        self._held = ""
        self._prompted = self._template.thinks
        """Whether it is taken to have begun within thinking, whose end has not come."""
        self._end = _PROMPTED if self._prompted else ""
        """The tag that ends the thinking under way."""
        self._thought = self._said = False
        self._kept: list[str] | None = []
        """The thinking, or the text, that may turn out to be the other one; None where that is decided."""
        self._room = _MOST

    def add(self, text: str) -> Iterator[str | Thinking | Unsaid]:
        """Yield what is known of the text by now."""
        text = self._joiner.add(text)
        if self._said:
            yield from self._say(text)
        else:
            self._held += text
            yield from self._begin()

    def rest(self, *, cut: bool = False) -> Iterator[str | Thinking]:
        """Yield what is left at the end. Of an answer that is not `cut`, thinking that neither began nor ended is text."""
        held, self._held = self._held + self._joiner.rest(), ""
        if self._prompted and self._kept is not None and not cut:
            self._template.thinks = False
            held = "".join([*self._kept, held])
            if held:
                yield held
        elif held and self._end:
            yield Thinking(held)
        elif held and not (self._thought and held.isspace()):
            yield held

    def _begin(self) -> Iterator[str | Thinking | Unsaid]:
        """Yield what the held text is, but for what may be half a tag."""
        while self._held:
            if self._end:
                thought, found, after = self._held.partition(self._end)
                if not found:
                    keep = _overlap(thought, self._end)
                    thought, self._held = thought[: len(thought) - keep], thought[len(thought) - keep :]
                    if thought:
                        self._keep(thought)
                        yield Thinking(thought)
                    return
                self._held, self._end, self._kept = after, "", None
                self._prompted, self._thought = False, True
                yield Thinking(thought)
                continue
            text = self._held.lstrip()
            tag = next((tag for tag in (*_TAGS, *_STRAY) if text.startswith(tag)), None)
            if tag:
                self._held, self._end, self._thought = text[len(tag) :], _TAGS.get(tag, ""), True
                self._kept = None
                continue
            if not text or any(tag.startswith(text) for tag in (*_TAGS, *_STRAY)):
                return
            said, self._held = text if self._thought else self._held, ""
            yield from self._say(said)
            return

    def _say(self, text: str) -> Iterator[str | Thinking | Unsaid]:
        """Yield the next text; where thinking ends in it that the prompt began, what was said till then is taken back."""
        after = self._answer_behind(text)
        if after is None:
            self._said = True
            if text:
                yield text
            return
        if self._said:
            yield Unsaid("".join(self._kept or ()))
        self._kept, self._held = None, after
        self._said, self._thought, self._template.thinks = False, True, True
        yield Thinking()
        yield from self._begin()

    def _answer_behind(self, text: str) -> str | None:
        """Return what of the next text follows the end of thinking that the prompt began; None where none ends there."""
        if self._kept is None:
            return None
        if ">" in text and _PROMPTED in "".join(self._kept[-len(_PROMPTED) :]) + text:
            before, _, after = ("".join(self._kept) + text).partition(_PROMPTED)
            if before.endswith("\n") and before.count("```") % 2 == 0 and not any(tag in before for tag in _TAGS):
                return after
            self._kept = None  # It is what the answer is about.
        self._keep(text)
        return None

    def _keep(self, text: str) -> None:
        """Keep what may turn out to be the other."""
        self._room -= len(text)
        if self._room < 0:
            self._kept = None
        elif self._kept is not None:
            self._kept.append(text)


def _overlap(text: str, tag: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a tag."""
    return next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)
