"""The worker's pure decisions: what follows a failed attempt, and what an LLM gets to see."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia import errors, ids
from cloudia.errors import UnavailableError, UsageError
from cloudia.protocol import Message, QueuedJob
from cloudia.worker.context import chat_messages
from cloudia.worker.failures import Decision, Fail, Failure, GiveUp, Retry, decide, describe
from cloudia.worker.providers.base import ChatMessage, ProviderError

MAX_VISIBILITY = 43_200
CHANCE = st.floats(0, 1, exclude_max=True)
SECRET = "the user's own words"


def follow(attempt: int, most: int, chance: float, retry_after: float | None = None) -> Decision:
    return decide(
        Failure("llm_failed", "x", retry_after=retry_after), attempt=attempt, max_attempts=most, random=lambda: chance
    )


# --- retry, fail or give up ------------------------------------------------------------------------------------------


@given(st.integers(1, 15), CHANCE)
def test_back_off_doubles_with_jitter_upward(attempt: int, chance: float) -> None:
    """After attempt n the job waits 2^n s and at most a quarter more, in whole seconds, within what SQS takes."""
    decision = follow(attempt, 20, chance)
    assert isinstance(decision, Retry)
    low, high = 2**attempt, 2**attempt * 1.25
    assert min(low, MAX_VISIBILITY) <= decision.delay <= min(round(high), MAX_VISIBILITY)
    assert isinstance(decision.delay, int)


def test_the_back_off_is_the_one_of_the_design() -> None:
    """2 s, 4 s, 8 s, 16 s, then a dead letter."""
    decisions = [follow(attempt, 5, 0.0) for attempt in range(1, 6)]
    assert [step.delay for step in decisions if isinstance(step, Retry)] == [2, 4, 8, 16]
    assert isinstance(decisions[-1], GiveUp)


@given(st.integers(1, 19), CHANCE, st.floats(0, 100_000))
def test_retry_after_is_obeyed(attempt: int, chance: float, retry_after: float) -> None:
    """A job is never back before its `Retry-After`, as far as SQS can hide it, nor before its back-off."""
    decision = follow(attempt, 20, chance, retry_after)
    plain = follow(attempt, 20, chance)
    assert isinstance(decision, Retry)
    assert isinstance(plain, Retry)
    assert decision.delay == min(max(plain.delay, math.ceil(retry_after)), MAX_VISIBILITY)


@given(st.integers(1, 30), st.integers(1, 20), CHANCE)
def test_attempts_are_bounded(attempt: int, most: int, chance: float) -> None:
    """I7: the last attempt, and any beyond it, gives up; none before it does."""
    assert isinstance(follow(attempt, most, chance), GiveUp if attempt >= most else Retry)


@given(st.integers(1, 30), st.integers(1, 20), CHANCE, st.none() | st.floats(0, 600))
def test_what_cannot_succeed_is_not_tried_again(
    attempt: int, most: int, chance: float, retry_after: float | None
) -> None:
    """A failure that is not retryable ends the job at once, with no dead letter."""
    failure = Failure("llm_failed", "x", retryable=False, retry_after=retry_after)
    decision = decide(failure, attempt=attempt, max_attempts=most, random=lambda: chance)
    assert decision == Fail(failure)


# --- what a failure is called ----------------------------------------------------------------------------------------

REASONS = st.sampled_from(["status 500", "connection reset"])


@given(st.sampled_from(["unavailable", "rate_limited", "rejected"]), REASONS, st.none() | st.floats(0, 600))
def test_a_provider_error_is_described_by_its_kind(
    kind: Literal["unavailable", "rate_limited", "rejected"], reason: str, retry_after: float | None
) -> None:
    """Only a rejection, which is of our own making, is final; `Retry-After` is kept for the rest."""
    failure = describe(ProviderError(kind, reason, retry_after=retry_after))
    expected = {"unavailable": "llm_failed", "rate_limited": "llm_rate_limited", "rejected": "llm_rejected"}
    assert failure.code == expected[kind]
    assert failure.retryable == (kind != "rejected")
    assert failure.retry_after == (None if kind == "rejected" else retry_after)
    assert failure.hint == reason


def test_a_wrong_configuration_is_final() -> None:
    """No attempt mends a setting; the failure says which it is."""
    failure = describe(UsageError("no key", hint="Set openai.api_key."))
    assert failure == Failure("usage", "no key", "Set openai.api_key.", retryable=False)


def test_what_may_pass_is_tried_again() -> None:
    """A service that is away, and an answer that took too long, may succeed next time."""
    assert describe(UnavailableError("away", code="aws_unavailable")).retryable
    assert describe(UnavailableError("away", code="aws_unavailable")).code == "aws_unavailable"
    assert describe(TimeoutError()).code == "answer_timed_out"
    assert describe(TimeoutError()).retryable


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError, UnicodeError, OSError, BaseExceptionGroup])
def test_an_unforeseen_error_is_not_quoted(kind: type[BaseException]) -> None:
    """I6: a responder's own exception may quote the conversation, so that the user is told its type alone."""
    error = BaseExceptionGroup(SECRET, [ValueError(SECRET)]) if kind is BaseExceptionGroup else kind(SECRET)
    failure = describe(error)
    assert failure.code == "responder_failed"
    assert SECRET not in str(failure.to_json())
    assert type(error).__name__ in failure.message


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_a_failure_has_one_shape(name: str) -> None:
    """Clients read `code`, `message`, `hint`, `retryable` and `retry_after`, whatever failed."""
    shown = describe(getattr(errors, name)("It broke.", hint="Mend it.")).to_json()
    assert set(shown) == {"code", "message", "hint", "retryable", "retry_after"}
    assert shown["code"]
    assert shown["message"]


# --- what the LLM sees -----------------------------------------------------------------------------------------------

CNV = ids.conversation_id()


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Message], QueuedJob]:
    """Return the messages before a job, cut anywhere, of turns that were answered, failed with nothing, or are under way."""
    messages: list[Message] = []
    previous: str | None = None
    turns = draw(st.lists(st.sampled_from(["answered", "failed", "under way"]), max_size=8))
    for number, turn in enumerate(turns):
        job_id, message_id = ids.turn_ids(previous)
        messages.append(Message(message_id, CNV, "user", f"q{number}", "now", job_id))
        if turn in {"answered", "failed"}:
            content = f"a{number}" if turn == "answered" else ""
            messages.append(Message(ids.reply_id(message_id), CNV, "assistant", content, "now", job_id, status="done"))
        previous = message_id
    job_id, message_id = ids.turn_ids(previous)
    cut = draw(st.integers(0, len(messages)))
    return messages[cut:], QueuedJob(job_id, CNV, message_id, "alice", "the question", 1.0)


@given(histories())
def test_a_context_is_fit_for_an_llm(history: tuple[list[Message], QueuedJob]) -> None:
    """It never starts with an answer, ends with the message to answer, keeps the order, and has no empty message."""
    before, job = history
    chat = chat_messages(before, job)
    assert chat[0].role == "user"
    assert chat[-1] == ChatMessage("user", "the question")
    assert all(message.content for message in chat)
    told = iter([ChatMessage(message.role, message.content) for message in before])
    assert all(message in told for message in chat[:-1])
    assert not any(one.role == other.role == "assistant" for one, other in pairwise(chat))


@given(histories())
def test_turns_that_have_not_ended_are_left_out(history: tuple[list[Message], QueuedJob]) -> None:
    """A question is in the context exactly where its turn has ended, with an answer or without one."""
    before, job = history
    ended = {message.job_id for message in before if message.role == "assistant"}
    questions = [message.content for message in chat_messages(before, job)[:-1] if message.role == "user"]
    assert questions == [message.content for message in before if message.role == "user" and message.job_id in ended]


def test_the_first_message_stands_alone() -> None:
    """A conversation that begins has no context."""
    job_id, message_id = ids.turn_ids(None)
    job = QueuedJob(job_id, CNV, message_id, "alice", "hello", 1.0)
    assert chat_messages([], job) == (ChatMessage("user", "hello"),)


def test_a_cut_between_question_and_answer_drops_the_answer() -> None:
    """An answer whose question was cut off makes no sense to an LLM."""
    job_id, message_id = ids.turn_ids(None)
    answer = Message(ids.reply_id(message_id), CNV, "assistant", "42", "now", job_id, status="done")
    later, asked = ids.turn_ids(message_id)
    job = QueuedJob(later, CNV, asked, "alice", "why?", 1.0)
    assert chat_messages([answer], job) == (ChatMessage("user", "why?"),)
