"""The text of an answer, and what its model thought before it in the same field."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.worker.providers.base import Thinking
from cloudia.worker.providers.text import Speech

SAID = [
    ("Hello", "", "Hello"),
    ("\n\nHello", "", "\n\nHello"),
    ("<think>hm</think>\n\nHello", "hm", "Hello"),
    (" \n<think>\n\n</think>\n\nHello ", "\n\n", "Hello "),
    ("<think>a < b, </thin</think>Hello", "a < b, </thin", "Hello"),
    ("<think>a</think>\n<think>b</think>Hello", "ab", "Hello"),
    ("[THINK]hm[/THINK]Hello", "hm", "Hello"),
    ("<thought>hm</thought>Hello", "hm", "Hello"),
    ("</think>\n\nHello", "", "Hello"),
    ("<think>hm", "hm", ""),
    ("<think>hm</th", "hm</th", ""),
    ("<think>hm</think>\n", "hm", ""),
    ("<thi", "", "<thi"),
    ("<b>Hello</b>", "", "<b>Hello</b>"),
    ("Say <think> and </think>.", "", "Say <think> and </think>."),
    ("`<think>`", "", "`<think>`"),
    ("", "", ""),
]


@pytest.mark.parametrize(("text", "thought", "said"), SAID)
@given(data=st.data())
def test_thinking_is_told_from_text_however_it_is_cut(text: str, thought: str, said: str, data: st.DataObject) -> None:
    """The same comes of each cut, also inside a tag; in the midst of an answer a tag is text."""
    cuts = [0, *sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6))), len(text)]
    speech = Speech()
    pieces = [piece for begin, end in pairwise(cuts) for piece in speech.add(text[begin:end])]
    pieces += speech.rest()
    assert "".join(piece.text for piece in pieces if isinstance(piece, Thinking)) == thought
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == said


def test_text_is_not_held_back() -> None:
    """Of thinking, no more is held than may be the beginning of a tag; of text nothing."""
    speech = Speech()
    assert list(speech.add("<think>so far</")) == [Thinking("so far")]
    assert list(speech.add("think>Hello <")) == [Thinking(""), "Hello <"]
    assert list(speech.add("th")) == ["th"]
