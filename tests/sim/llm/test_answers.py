"""What the provider says, as a pure function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.sim.llm.answers import answer, scripted
from cloudia.sim.llm.prompts import Prompt, Reply, Role, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

ROLES: Sequence[Role] = ("system", "user", "assistant", "tool")
SNIPPETS = (
    "[[words:7]]",
    "[[tool:find {",
    "[[tool:find]]",
    '[[tool:find {"a": [[1]]}]]',
    "```",
    "👩‍👩‍👧",
    "{0}",
    "%s",
    "]]",
)
TEXTS = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(SNIPPETS) | st.text(max_size=20), max_size=6).map(" ".join),
    st.text(min_size=1, max_size=3).map(lambda text: text * 2_000),
)
PROMPTS = st.builds(
    Prompt,
    model=st.text(min_size=1, max_size=20),
    turns=st.lists(st.builds(Turn, st.sampled_from(ROLES), TEXTS), max_size=6).map(tuple),
    seed=st.none() | st.integers(),
    max_tokens=st.none() | st.integers(1, 200),
    stop=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    tools=st.just(("find",)) | st.just(()),
)


def say(*texts: str, seed: int = 0) -> Reply:
    """Return the reply to a conversation in which the user says `texts` and the assistant answers `hm`."""
    turns = [Turn(role, text) for said in texts for role, text in (("user", said), ("assistant", "hm"))]  # type: ignore[arg-type]
    return answer(Prompt("m", tuple(turns[:-1])), seed)


@given(PROMPTS, st.integers())
def test_any_conversation_gets_the_same_answer_twice(prompt: Prompt, seed: int) -> None:
    """Whatever is said, there is an answer, it is bounded, and it is the same the second time."""
    reply = answer(prompt, seed)
    assert reply == answer(prompt, seed)
    assert len(reply.text) < 200_000
    assert prompt.max_tokens is None or reply.tool_call or reply.completion_tokens <= prompt.max_tokens
    assert all(reply.chunks)
    assert not any(stop and stop in reply.text for stop in prompt.stop) or reply.tool_call


@given(st.text(max_size=2_000) | st.text("a \n`é😀", max_size=2_000))
def test_chunks_join_to_the_text(text: str) -> None:
    """Cutting a text into tokens loses and adds nothing."""
    reply = scripted(Prompt("m", ()), 0, text)
    assert reply.text == text
    assert all(0 < len(chunk) <= 20 for chunk in reply.chunks)


def test_known_answer() -> None:
    """The answer is the same on every machine and Python, so its id can be written down here."""
    assert say("hello world").reply_id == "4eed73387a38d724ce949068"


def test_seed_model_and_words_change_the_answer() -> None:
    """Different seeds, models and messages do not get the same answer."""
    base = Prompt("m", (Turn("user", "tell me about deployments"),))
    others = [
        answer(base, 1),
        answer(Prompt("n", base.turns), 0),
        answer(Prompt("m", (Turn("user", "tell me about databases"),)), 0),
    ]
    assert len({answer(base, 0).text, *(other.text for other in others)}) == 4


def test_the_request_s_seed_wins() -> None:
    """A seed in the request counts, the server's then does not."""
    prompt = Prompt("m", (Turn("user", "hi"),), seed=7)
    assert answer(prompt, 1) == answer(prompt, 2) == answer(Prompt("m", prompt.turns), 7)


def test_context_is_shown() -> None:
    """The answer says which turn it is and quotes what was said first, before and now, and the system prompt."""
    texts = ("my name is Ada", "I like trains", "what is my name?")
    said = say(*texts).text
    assert "turn 3" in said
    assert all(f"“{text}”" in said for text in texts)
    told = answer(Prompt("m", (Turn("system", "Be kind."), Turn("user", "hi"))), 0).text
    assert "“Be kind.”" in told


def test_quotes_are_bounded_and_harmless() -> None:
    """A long message is quoted in part, on one line, and a fence in it opens no fence in the answer."""
    said = say("```python\n" + "x" * 100_000).text
    assert len(said) < 5_000
    assert said.count("```") % 2 == 0
    assert "\x1b" not in say("\x1b[31mred").text


@pytest.mark.parametrize("seed", range(20))
def test_markdown_is_worth_looking_at(seed: int) -> None:
    """Every answer has a heading, a list and a fence of code that is closed."""
    lines = say("how do queues scale", seed=seed).text.splitlines()
    assert lines[0].startswith("## ")
    assert any(line.startswith(("- ", "1. ")) for line in lines)
    assert [line[:3] for line in lines].count("```") == 2


@pytest.mark.parametrize("words", [1, 5, 40, 500, 5_000])
def test_words_directive(words: int) -> None:
    """`[[words:N]]` gives N words, with every fence closed, and is not quoted."""
    said = say(f"a long story [[words:{words}]]").text
    assert len(said.split()) == words
    assert said.count("```") % 2 == 0
    assert "[[" not in said


def test_words_directive_has_a_limit() -> None:
    """No message makes the provider write without end."""
    assert len(say("[[words:999999999]]").text.split()) == 20_000


def test_limits_and_stops() -> None:
    """`max_tokens` cuts with `length`, a stop sequence with `stop_sequence` just before it."""
    turns = (Turn("user", "hi"),)
    cut = answer(Prompt("m", turns, max_tokens=5), 0)
    assert (cut.completion_tokens, cut.finish) == (5, "length")
    whole = scripted(Prompt("m", turns, max_tokens=3), 0, "one two three")
    assert whole.finish == "stop"
    stopped = scripted(Prompt("m", turns, stop=("", "three", "two")), 0, "one two three")
    assert (stopped.text, stopped.finish, stopped.stop_sequence) == ("one ", "stop_sequence", "two")


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ('[[tool:find {"a": [[1]]}]]', {"a": [[1]]}),
        ("please [[tool:find]] it", {}),
        ("[[tool:find {}  ]]", {}),
        ("[[tool:find {broken}]]", None),
        ("[[tool:find [1]]]", None),
        ('[[tool:find {"a": NaN}]]', None),
        ("[[tool:other {}]]", None),
        ("[[tool:find {}", None),
        ("[[tool:find " + '{"a":' * 100_000, None),
    ],
)
def test_tool_directive(message: str, arguments: dict[str, object] | None) -> None:
    """A well-formed directive for a tool on offer calls it; anything else is a text like any other."""
    reply = answer(Prompt("m", (Turn("user", message),), tools=("find",)), 0)
    assert (reply.tool_call.arguments if reply.tool_call else None) == arguments
    assert reply.finish == ("stop" if arguments is None else "tool")


def test_tool_result_is_answered() -> None:
    """Once a tool has answered, the directive is done and the result is in the answer."""
    turns = (Turn("user", "[[tool:find {}]]"), Turn("assistant", ""), Turn("tool", "42 trains"))
    reply = answer(Prompt("m", turns, tools=("find",)), 0)
    assert reply.tool_call is None
    assert "“42 trains”" in reply.text
