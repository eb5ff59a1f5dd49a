"""Contexts: where the messages before a turn come from, and which of them the LLM is sent. No service runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia import ids
from cloudia.cloud.cache import ContextCache
from cloudia.cloud.history import History
from cloudia.errors import UnavailableError
from cloudia.protocol import JobStatus, Message, QueuedJob
from cloudia.settings import Settings
from cloudia.worker import ChatMessage
from cloudia.worker.context import Contexts, chat_messages, tokens, within
from cloudia.worker.routes import room

AWAY = UnavailableError("it is away", code="aws_unavailable")
MOST = 6
PLENTY = 1_000_000


class Cache(ContextCache):
    """A cache in memory. A subclass, so that mypy holds it to the real one's signatures."""

    def __init__(self) -> None:
        self.away = False
        self.entries: dict[str, tuple[str, list[Message]]] = {}

    async def get(self, conversation_id: str, *, through: str) -> list[Message] | None:
        if self.away:
            raise AWAY
        covered, messages = self.entries.get(conversation_id, (None, []))
        return messages if covered == through else None

    async def put(self, conversation_id: str, *, through: str, messages: list[Message]) -> None:
        if self.away:
            raise AWAY
        self.entries[conversation_id] = (through, messages)


class Table(History):
    """A history in memory. A subclass, so that mypy holds it to the real one's signatures."""

    def __init__(self, messages: list[Message]) -> None:
        self.all = messages
        self.away = False
        self.asked: list[tuple[str, str, int]] = []

    def before(self, conversation_id: str, message_id: str, *, limit: int) -> list[Message]:
        self.asked.append((conversation_id, message_id, limit))
        if self.away:
            raise AWAY
        return [message for message in self.all if message.message_id < message_id][-limit:]


def question(number: int, content: str | None = None) -> Message:
    """Return a user's message, the first of its turn."""
    text = f"question {number}" if content is None else content
    return Message(f"msg_{number:02}0", "cnv", "user", text, "2026-01-01T00:00:00Z", f"job_{number}")


def answer(number: int, content: str | None = None, status: JobStatus = "done") -> Message:
    """Return the answer of a turn."""
    text = f"answer {number}" if content is None else content
    return Message(
        f"msg_{number:02}1", "cnv", "assistant", text, "2026-01-01T00:00:01Z", f"job_{number}", status=status
    )


def turns(*numbers: int) -> list[Message]:
    """Return whole turns."""
    return [message for number in numbers for message in (question(number), answer(number))]


def job(number: int, *, content: str | None = None) -> QueuedJob:
    """Return the job of a turn; the turn before it has the number before."""
    previous = question(number - 1).message_id if number else None
    own = question(number, content)
    return QueuedJob(own.job_id, "cnv", own.message_id, "alice", own.content, 1_000.0, previous_message_id=previous)


@dataclass
class Parts:
    """Contexts, and what they stand on."""

    cache: Cache = field(default_factory=Cache)
    table: Table = field(default_factory=lambda: Table(turns(0, 1, 2, 3, 4)))

    @property
    def contexts(self) -> Contexts:
        return Contexts(self.table, self.cache, most=MOST, most_tokens=PLENTY)


@pytest.fixture
def parts() -> Parts:
    return Parts()


# --- reading ---------------------------------------------------------------------------------------------------------


async def test_the_first_turn_asks_nobody(parts: Parts) -> None:
    """Where there is no turn before, there is nothing to read, whoever is away."""
    parts.cache.away = parts.table.away = True
    assert await parts.contexts.before(job(0)) == []
    assert parts.table.asked == []


async def test_a_cached_context_serves_the_turn_that_follows_it_and_no_other(parts: Parts) -> None:
    """An entry that ends with the turn before is taken; one that ends before or after that is left, for the history."""
    cached = [answer(1, "from the cache")]
    for covered, served in ((1, True), (0, False), (2, False)):
        parts.cache.entries["cnv"] = (question(covered).message_id, cached)
        parts.table.asked.clear()
        before = await parts.contexts.before(job(2))
        assert (before == cached) is served
        assert (parts.table.asked == []) is served
        if not served:
            assert before == turns(0, 1)


async def test_a_cached_context_that_is_empty_is_a_context(parts: Parts) -> None:
    """No messages, as the cache has it, is an answer and needs no history."""
    parts.cache.entries["cnv"] = (question(1).message_id, [])
    assert await parts.contexts.before(job(2)) == []
    assert parts.table.asked == []


@pytest.mark.parametrize("how", ["away", "empty", "none"])
async def test_without_the_cache_the_history_is_read(parts: Parts, how: str) -> None:
    """I8: with Redis away, or nothing cached, or no Redis at all, the last messages come from the history, oldest first."""
    parts.cache.away = how == "away"
    contexts = Contexts(parts.table, None if how == "none" else parts.cache, most=3, most_tokens=PLENTY)
    assert await contexts.before(job(2)) == [answer(0), *turns(1)]
    assert parts.table.asked == [("cnv", question(2).message_id, 3)]


async def test_a_history_that_is_away_is_an_error(parts: Parts) -> None:
    """Nobody answers without what was said before."""
    parts.table.away = True
    with pytest.raises(UnavailableError):
        await parts.contexts.before(job(2))


# --- remembering -----------------------------------------------------------------------------------------------------


async def test_what_is_remembered_serves_the_next_turn(parts: Parts) -> None:
    """The turn's own two messages join those before; the question is as it was accepted."""
    turn = job(2)
    await parts.contexts.remember(turn, turns(0, 1), answer(2))
    before = await parts.contexts.before(job(3))
    own = replace(question(2), created_at=ids.iso(turn.accepted_at))
    assert before == [*turns(0, 1), own, answer(2)]
    assert parts.table.asked == []


@given(length=st.integers(0, 20), most=st.integers(1, 12))
async def test_no_more_is_remembered_than_the_llm_sees(length: int, most: int) -> None:
    """However much was said, the last messages are kept and the others are left out."""
    parts = Parts()
    before = turns(*range(length))
    await Contexts(parts.table, parts.cache, most=most, most_tokens=PLENTY).remember(
        job(length), before, answer(length)
    )
    through, kept = parts.cache.entries["cnv"]
    assert through == question(length).message_id
    assert len(kept) == min(most, len(before) + 2)
    assert [message.message_id for message in kept] == [
        message.message_id for message in [*before, question(length), answer(length)]
    ][-most:]


async def test_without_redis_nothing_is_remembered_and_nothing_fails(parts: Parts) -> None:
    """I8: the turn has ended all the same."""
    parts.cache.away = True
    await parts.contexts.remember(job(2), [], answer(2))
    await Contexts(parts.table, None, most=MOST, most_tokens=PLENTY).remember(job(2), [], answer(2))
    assert parts.cache.entries == {}


# --- how much of it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [True, False])
async def test_the_context_is_bounded_by_tokens_too(parts: Parts, cached: bool) -> None:
    """Two long messages leave room for what fits beside the question, whole messages and the newest."""
    long = [question(0, "x" * 3000), answer(0, "y" * 3000), question(1, "short"), answer(1, "brief")]
    parts.table.all = long
    if cached:
        parts.cache.entries["cnv"] = (question(1).message_id, long)
    for most_tokens, kept in ((100, 2), (1100, 3), (2100, 4)):
        contexts = Contexts(parts.table, parts.cache, most=MOST, most_tokens=most_tokens)
        assert contexts.beside(job(2), await contexts.before(job(2))) == long[-kept:]


async def test_what_is_remembered_is_bounded_by_tokens_too(parts: Parts) -> None:
    """The cache holds no more of a conversation than the LLM is sent."""
    contexts = Contexts(parts.table, parts.cache, most=MOST, most_tokens=1100)
    await contexts.remember(job(2), [question(1, "x" * 30_000), answer(1, "y" * 3000)], answer(2))
    assert [message.content for message in parts.cache.entries["cnv"][1]] == ["y" * 3000, "question 2", "answer 2"]


@given(st.lists(st.text(max_size=400), max_size=12), st.integers(-10, 2000))
def test_what_is_within_a_bound_is_the_longest_end_that_fits(texts: list[str], most: int) -> None:
    """It is at most the bound, it is the end of what was there, and one message more would not fit."""
    messages = [question(number, text) for number, text in enumerate(texts)]
    kept = within(messages, most)
    sizes = [tokens(message.content) for message in messages]
    assert kept == messages[len(messages) - len(kept) :]
    assert sum(sizes[len(sizes) - len(kept) :]) <= max(most, 0)
    assert len(kept) == len(messages) or sum(sizes[len(sizes) - len(kept) - 1 :]) > most


def test_the_bound_is_what_the_models_window_leaves() -> None:
    """A known model's window without prompt and answer, a fallback's where that is smaller, a safe bound of one unknown."""
    anthropic = Settings(llm_provider="anthropic", llm_system_prompt="", llm_max_tokens=2048)
    assert room(anthropic) == 200_000 - 2048 - tokens("")
    assert room(anthropic.changed(llm_fallback_provider="openai", llm_fallback_model="gpt-4o-mini")) < 128_000
    assert 8_192 / 2 <= room(Settings(llm_model="gpt-4", llm_max_tokens=8_000)) < 8_192
    assert 29_000 < room(Settings(llm_model="somebody/some-model")) < 32_000
    assert room(anthropic.changed(limits_context_tokens=1234)) == 1234


# --- what the LLM is sent --------------------------------------------------------------------------------------------


def said(before: list[Message], own: QueuedJob) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in chat_messages(before, own)]


def test_the_llm_is_sent_the_turns_that_ended_and_the_message_to_answer() -> None:
    """In their order, the message to answer last; the first turn is that message alone."""
    assert chat_messages(turns(0), job(1)) == (
        ChatMessage("user", "question 0"),
        ChatMessage("assistant", "answer 0"),
        ChatMessage("user", "question 1"),
    )
    assert said([], job(0)) == [("user", "question 0")]


def test_a_turn_that_has_not_ended_is_left_out() -> None:
    """A message that was accepted at the same moment is answered on its own."""
    assert said([*turns(0), question(1)], job(2)) == [
        ("user", "question 0"),
        ("assistant", "answer 0"),
        ("user", "question 2"),
    ]


@pytest.mark.parametrize("status", ["failed", "dead_lettered", "cancelled"])
def test_a_turn_without_an_answers_text_keeps_its_question(status: JobStatus) -> None:
    """A later message may refer to it; an answer without text is no message that an LLM takes."""
    assert said([question(0), answer(0, "", status)], job(1)) == [("user", "question 0"), ("user", "question 1")]


def test_an_answer_of_white_space_is_no_message() -> None:
    """A turn that was stopped after a line break: Anthropic refuses a text of white space, and with it every later turn."""
    assert said([question(0), answer(0, "\n ", "cancelled")], job(1)) == [
        ("user", "question 0"),
        ("user", "question 1"),
    ]


def test_a_cancelled_turn_keeps_what_came() -> None:
    """What the user has seen before the stop is part of the conversation."""
    assert said([question(0), answer(0, "the first half", "cancelled")], job(1))[1] == ("assistant", "the first half")


def test_what_is_sent_never_begins_with_an_answer() -> None:
    """The cut may fall between a question and its answer: the answer goes, too, and so does one behind it."""
    assert said([answer(0), *turns(1)], job(2))[0] == ("user", "question 1")
    assert said([answer(0), answer(1)], job(2)) == [("user", "question 2")]


@given(
    ends=st.lists(st.sampled_from(["answered", "failed", "open"]), max_size=8),
    cut=st.integers(0, 16),
)
def test_whatever_was_said_the_message_to_answer_is_last_and_a_user_is_first(ends: list[str], cut: int) -> None:
    """Nothing is empty, no open turn is in it, and each answer stands right behind its own question."""
    before = []
    for number, end in enumerate(ends):
        before.append(question(number))
        if end != "open":
            before.append(answer(number, "" if end == "failed" else None))
    chat = said(before[-cut:] if cut else [], job(len(ends)))
    assert chat[0][0] == "user"
    assert chat[-1] == ("user", f"question {len(ends)}")
    assert all(content for _, content in chat)
    for place, (role, content) in enumerate(chat):
        if role == "assistant":
            assert chat[place - 1] == ("user", content.replace("answer", "question"))
    asked = {content for role, content in chat[:-1] if role == "user"}
    assert not asked & {f"question {number}" for number, end in enumerate(ends) if end == "open"}
