"""A turn's state and its words, without a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from cloudia.protocol import Accepted, Event
from cloudia.tui.status_line import breaker_of, connection_text, turn_text
from cloudia.tui.turns import Turn, cost_text, summary, to_markdown, turns_of, what_happened


def event(kind: str, attempt: int = 1, **data: Any) -> Event:
    """Return an event of the job."""
    return Event(kind, "job_1", "cnv_1", attempt, data)


def failed(status: str, **error: Any) -> Turn:
    """Return a turn that was sent at 0, began at 1, and failed at 2."""
    turn = Turn("why?", sent_at=0.0)
    turn.accepted(Accepted("job_1", "cnv_1", "msg_1"))
    turn.apply(event("started"), 1.0)
    turn.apply(event("error", status=status, error=error), 2.0)
    return turn


def test_a_turn_goes_from_sending_to_its_end() -> None:
    """Each step is told: sending, queued, thinking, first token, tokens; a reset voids the text."""
    turn = Turn("why?", sent_at=10.0)
    assert turn_text(turn, 10.5) == "sending"
    turn.accepted(Accepted("job_1", "cnv_1", "msg_1"))
    assert turn_text(turn, 10.5) == "queued 0.5 s"
    turn.apply(event("started", max_attempts=5), 11.0)
    assert turn_text(turn, 13.0) == "queued 1.0 s · attempt 1 of 5 · thinking 2.0 s"
    turn.apply(event("delta", text="because"), 13.5)
    turn.apply(event("reset", 2, reason="new_attempt"), 14.0)
    assert (turn.answer.text, turn.under_way) == ("", True)
    turn.apply(event("delta", 2, text="so"), 15.0)
    turn.apply(event("done", 2, message_id="m", usage={"input_tokens": 3, "output_tokens": 2}, model="sim-1"), 16.0)
    assert turn_text(turn, 99.0) == "queued 1.0 s · attempt 2 of 5 · first token 2.50 s · 3 + 2 tokens"
    assert summary(turn) == "sim-1 · 2 tokens · first after 3.5 s · 6.0 s · attempt 2 of 5"
    assert (turn.under_way, turn.retryable, what_happened(turn, 0)) == (False, False, "")


def test_what_went_wrong_is_said() -> None:
    """An open breaker counts down, a dead letter says where to find it, a refusal what to do; each can be asked again."""
    breaker = failed("failed", code="llm_unavailable", message="The LLM is unavailable right now.", retry_after=26)
    assert what_happened(breaker, 6) == "The LLM is unavailable right now. Again in 20 s."
    assert what_happened(breaker, 30) == "The LLM is unavailable right now. Try again now."
    dead = failed("dead_lettered", code="x", message="It failed five times.")
    assert what_happened(dead, 0) == "It failed five times. `cloudia dlq show job_1` says why."
    other = failed("failed", code="rejected", message="The LLM refused.", hint="Shorten it.")
    assert what_happened(other, 0) == "The LLM refused. Shorten it."
    refused = Turn("x", refused="the HTTP API cannot be reached")
    assert what_happened(refused, 0) == "Not sent: the HTTP API cannot be reached"
    assert all(turn.retryable and not turn.under_way for turn in (breaker, dead, other, refused))


@pytest.mark.parametrize(
    ("cost", "says"),
    [
        (None, ""),
        (0, "$0"),
        (12.3456, "$12.35"),
        (1, "$1.00"),
        (0.34, "$0.34"),
        (0.0123, "$0.012"),
        (0.00123456, "$0.0012"),
        (1e-12, "$0.0000000000010"),
    ],
)
def test_a_cost_has_the_digits_that_count(cost: float | None, says: str) -> None:
    """Dollars to the cent, less than that with two digits; nothing where it is not known."""
    assert cost_text({"input_tokens": 3} if cost is None else {"cost_usd": cost}) == says


def test_a_known_cost_is_told_with_the_tokens() -> None:
    """In the status line and in the facts."""
    turn = Turn("why?", sent_at=10.0)
    turn.accepted(Accepted("job_1", "cnv_1", "msg_1"))
    turn.apply(event("started", max_attempts=5), 11.0)
    usage = {"input_tokens": 3, "output_tokens": 2, "cost_usd": 0.00123}
    turn.apply(event("done", message_id="m", usage=usage, model="sim-1"), 12.0)
    assert turn_text(turn, 19.0) == "queued 1.0 s · attempt 1 of 5 · 3 + 2 tokens · $0.0012"
    assert summary(turn) == "sim-1 · 2 tokens · $0.0012 · 2.0 s"


def test_a_history_becomes_turns() -> None:
    """Questions get their answers; an answer whose question is on an older page is left out; one to come is under way."""

    def message(role: str, job: str, content: str, status: str | None = None) -> dict[str, Any]:
        facts = {"message_id": f"{job}-{role}", "conversation_id": "cnv_1", "model": "sim-1", "usage": None}
        return {"role": role, "job_id": job, "content": content, "status": status, "error": None, **facts}

    turns = turns_of(
        [
            message("assistant", "job_0", "older", "done"),
            message("user", "job_1", "one"),
            message("assistant", "job_1", "first", "done"),
            message("user", "job_2", "two\nlines"),
        ]
    )
    assert [(turn.content, turn.answer.text, turn.under_way) for turn in turns] == [
        ("one", "first", False),
        ("two\nlines", "", True),
    ]
    assert to_markdown("A title", turns) == "# A title\n\n> one\n\nfirst\n\n> two\n> lines\n\n*No answer yet.*\n"


@pytest.mark.parametrize(
    ("state", "retry_in", "resumed_for", "says"),
    [
        ("connecting", None, None, "○ connecting"),
        ("connected", None, None, "● connected"),
        ("reconnecting", 1.26, None, "○ reconnecting in 1.3 s"),
        ("connected", None, 1.0, "● resumed"),
        ("connected", None, 9.0, "● connected"),
        ("closed", None, None, "○ closed"),
    ],
)
def test_the_connection_is_told(state: Any, retry_in: float | None, resumed_for: float | None, says: str) -> None:
    """The connection's state, with its countdown; `resumed` is said for a moment."""
    assert connection_text(state, retry_in=retry_in, resumed_for=resumed_for)[0] == says


def test_the_worst_breaker_is_shown() -> None:
    """Of several workers, the one whose breaker is least closed says how the LLM is; none says nothing."""

    def worker(state: str) -> dict[str, Any]:
        return {"routes": [{"provider": "openai", "model": "sim-1", "breaker": state}]}

    assert breaker_of({"workers": [worker("closed"), worker("open"), worker("half-open")]}) == ("openai sim-1", "open")
    assert breaker_of({"workers": []}) is None
    assert breaker_of(None) is None
