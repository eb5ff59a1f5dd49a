"""Text as providers send it: escaped halves of a character may come in two chunks, and half of one is no text."""

from __future__ import annotations

import re

__all__ = ["Joiner", "whole"]

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
