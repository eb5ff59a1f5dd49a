"""The text of an answer, and what its model thought before it in the same field."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.worker.providers.base import Thinking, Unsaid
from cloudia.worker.providers.text import Speech, Template

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


def _heard(text: str, template: Template, data: st.DataObject, *, cut: bool = False) -> tuple[str, list[str]]:
    """Return the text of an answer whose pieces are cut anywhere, and what of it was taken back."""
    cuts = [0, *sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6))), len(text)]
    speech = Speech(template)
    said, unsaid = "", []
    pieces = [piece for begin, end in pairwise(cuts) for piece in speech.add(text[begin:end])]
    for piece in [*pieces, *speech.rest(cut=cut)]:
        if isinstance(piece, Unsaid):
            assert said == piece.text, "it is all that was said"
            unsaid.append(piece.text)
            said = ""
        elif isinstance(piece, str):
            said += piece
    return said, unsaid


PROMPTED = "So, let me see.\nIt is 42.\n</think>\n\nIt is 42."


@given(st.data())
def test_thinking_that_the_prompt_began_is_taken_back_and_then_known(data: st.DataObject) -> None:
    """Its end alone tells: what was said till then was thinking. The next answers of the route are held back until theirs."""
    template = Template()
    assert _heard(PROMPTED, template, data)[0] == "It is 42."
    assert template.thinks
    assert _heard(PROMPTED, template, data) == ("It is 42.", [])
    assert _heard("So, I was cut", template, data, cut=True) == ("", [])
    assert _heard("<think>hm</think>\nIt is 42.", template, data) == ("It is 42.", [])
    assert template.thinks
    assert _heard("It is 42.", template, data) == ("It is 42.", [])
    assert not template.thinks


@pytest.mark.parametrize(
    "text",
    [
        "The tag </think> ends it.\n</think>\n",
        "First comes\n<think>\nthen\n</think>\nand that is all.",
        "```\nhm\n</think>\nHello\n```",
        "a > b\n</thinking>",
    ],
)
@given(data=st.data())
def test_an_answer_about_the_tags_is_text(text: str, data: st.DataObject) -> None:
    """Within a line, in code, or behind its beginning, the end of thinking is what the answer says."""
    template = Template()
    assert _heard(text, template, data) == (text, [])
    assert not template.thinks


def test_what_is_kept_has_a_bound() -> None:
    """Of an answer that is longer than any that can be recorded nothing is taken back any more."""
    speech = Speech()
    for _ in range(11):
        assert list(speech.add("x" * 40_000)) == ["x" * 40_000]
    assert list(speech.add("\n</think>\n")) == ["\n</think>\n"]
