"""Tokens: cutting a text into the pieces it is streamed in, and estimating what a prompt costs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudia.sim.llm.prompts import Turn

__all__ = ["count_prompt", "split"]

# Every character is white space, part of a word, or neither, so the pieces leave nothing out.
_PIECE = re.compile(r"\s{0,8}(?:\w{1,12}|[^\w\s]{1,4})|\s{1,8}")
_CHARACTERS_EACH = 4  # OpenAI's rule of thumb for English text
_PER_TURN = 4  # the role and the marks around a turn


def split(text: str) -> tuple[str, ...]:
    """Return `text` in tokens: a word or a piece of one, or punctuation, with the white space before it."""
    return tuple(_PIECE.findall(text))


def count_prompt(turns: Iterable[Turn]) -> int:
    """Return an estimate of the tokens in a prompt, cheap for megabytes."""
    return sum(_PER_TURN + -(-len(turn.text) // _CHARACTERS_EACH) for turn in turns)
