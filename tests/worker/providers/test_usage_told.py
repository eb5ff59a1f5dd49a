"""The tokens that providers tell, in one form; and the text that they cut in the middle of a character."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.worker.providers.base import Usage
from cloudia.worker.providers.text import Joiner
from cloudia.worker.providers.usage import AnthropicUsage, openai_usage


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, Usage(9, 4)),
        ({"prompt_tokens": 9.0, "completion_tokens": 4.0}, Usage(9, 4)),
        ({"prompt_tokens": 9, "total_tokens": 13}, Usage(9, 4)),
        ({"completion_tokens": 4, "total_tokens": 13}, Usage(9, 4)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 4, 5, 0, 3),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": None}, Usage(9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 5}, Usage(9, 4, 5)),
        ({"prompt_tokens": 0, "completion_tokens": 4}, Usage(0, 4)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": 9}, None),
        ({"prompt_tokens": 9, "completion_tokens": -4}, None),
        ({"prompt_tokens": 9, "completion_tokens": 1e300}, None),
        ({"prompt_tokens": True, "completion_tokens": "4"}, None),
        ({}, None),
        (None, None),
        (5, None),
    ],
)
def test_openais_usage(told: Any, expected: Usage | None) -> None:
    """Input includes what was read from the cache; what makes no sense is no usage."""
    assert openai_usage(told) == expected


def test_anthropics_usage() -> None:
    """Input is the sum of what was read, written and neither; it is told so far, wherever it is told."""
    usage = AnthropicUsage()
    assert usage.usage is None
    usage.take(
        {"input_tokens": 4, "output_tokens": 1, "cache_creation_input_tokens": 1000, "cache_read_input_tokens": None}
    )
    usage.take({"output_tokens": 5, "cache_read_input_tokens": 2000})
    usage.take(None)
    assert usage.usage == Usage(3004, 5, 2000, 1000)
    late = AnthropicUsage()
    late.take({"input_tokens": 0, "output_tokens": 0})
    late.take({"input_tokens": 42, "output_tokens": 5})
    assert late.usage == Usage(42, 5)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([{"input_tokens": 0, "output_tokens": 0}, {"output_tokens": 0}], None),
        ([{"input_tokens": 0, "output_tokens": 0}, {"output_tokens": 5}], None),
        ([{"input_tokens": 0, "cache_read_input_tokens": 9, "output_tokens": 1}, {"output_tokens": 5}], Usage(9, 5, 9)),
        ([{"input_tokens": 9, "output_tokens": 0}], Usage(9, 0)),
    ],
)
def test_no_request_has_no_input(told: list[dict[str, int]], expected: Usage | None) -> None:
    """Where all of Anthropic's parts of it are 0, who answers does not count; an output of 0 is one that has not begun."""
    usage = AnthropicUsage()
    for each in told:
        usage.take(each)
    assert usage.usage == expected


@given(st.text(alphabet=st.characters(codec="utf-16"), max_size=6), st.data())
def test_text_that_was_cut_inside_a_character_is_whole_again(text: str, data: st.DataObject) -> None:
    """Halves that come in two pieces are one character; half of one alone is the replacement character."""
    units = [
        chr(int.from_bytes(text.encode("utf-16-le")[at : at + 2], "little"))
        for at in range(0, len(text.encode("utf-16-le")), 2)
    ]
    cut = data.draw(st.integers(0, len(units)))
    joiner = Joiner()
    parts = ["".join(units[:cut]), "".join(units[cut:])]
    assert "".join([*(joiner.add(part) for part in parts), joiner.rest()]) == text
    alone = Joiner()
    assert alone.add("a\ud83d") + alone.add("b") + alone.add("\ude00") + alone.rest() == "a�b�"
