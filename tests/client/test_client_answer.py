"""What a client makes of the events of one job."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudia.client import Answer
from cloudia.protocol import Event

_JOB = "job_01k0000000000000000000000a"


def _event(kind: str, attempt: int = 1, **data: object) -> Event:
    return Event(kind, _JOB, attempt=attempt, data=data)


def _applied(*events: Event) -> Answer:
    answer = Answer(_JOB)
    for event in events:
        answer.apply(event)
    return answer


def test_an_answer_from_start_to_end() -> None:
    """Queued, running, done: text, usage and who answered are there."""
    answer = Answer(_JOB)
    assert (answer.status, answer.ended, answer.text) == ("queued", False, "")
    answer.apply(_event("started", message_id="msg_1"))
    assert (answer.status, answer.ended) == ("running", False)
    answer.apply(_event("delta", text="Hello, "))
    answer.apply(_event("delta", text="you."))
    assert (answer.text, answer.ended) == ("Hello, you.", False)
    usage = {"input_tokens": 3, "output_tokens": 2}
    answer.apply(_event("done", message_id="msg_1", usage=usage, provider="openai", model="sim-1"))
    assert answer == Answer(_JOB, "done", "Hello, you.", 1, "msg_1", "openai", "sim-1", usage)
    assert answer.ended


def test_a_reset_voids_the_text_and_says_why() -> None:
    """What follows a reset is the whole answer; each reset is remembered with its reason."""
    answer = _applied(
        _event("started"),
        _event("delta", text="half an ans"),
        _event("reset", 2, reason="new_attempt"),
        _event("delta", 2, text="ano"),
        _event("reset", 2, reason="events_interrupted"),
        _event("delta", 2, text="a whole one"),
    )
    assert (answer.status, answer.text, answer.attempts) == ("running", "a whole one", 2)
    assert answer.resets == ["new_attempt", "events_interrupted"]


def test_which_attempt_it_is_is_told_in_words() -> None:
    """With how many there are at most where the worker told it, and without where an older one did not."""
    assert Answer(_JOB).attempt_text == "attempt 1"
    answer = _applied(_event("started", max_attempts=5))
    assert answer.attempt_text == "attempt 1 of 5"
    answer.apply(_event("reset", 2, reason="events_interrupted"))
    assert answer.attempt_text == "attempt 2 of 5"
    assert _applied(_event("started"), _event("reset", 2, reason="new_attempt")).attempt_text == "attempt 2"


def test_a_cancelled_answer_keeps_what_came() -> None:
    """Cancelled is an end, and the text stays."""
    answer = _applied(_event("started"), _event("delta", text="half"), _event("cancelled", message_id="msg_1"))
    assert (answer.status, answer.ended, answer.text, answer.message_id) == ("cancelled", True, "half", "msg_1")


def test_a_failed_job_says_what_happened() -> None:
    """`failed` and `dead_lettered` are told apart, the error is kept as it was told; without a status it is a failure."""
    error = {"code": "llm_failed", "message": "The LLM did not answer.", "hint": "", "retryable": True}
    for told, status in (
        ({"status": "dead_lettered"}, "dead_lettered"),
        ({"status": "failed"}, "failed"),
        ({}, "failed"),
    ):
        answer = _applied(_event("started"), _event("error", 5, error=error, **told))
        assert (answer.status, answer.ended, answer.error, answer.attempts) == (status, True, error, 5)
    assert _applied(_event("error")).error == {}


@settings(deadline=None)
@given(st.lists(st.sampled_from(["started", "delta", "reset"]) | st.text(max_size=5), max_size=30))
def test_the_text_is_what_came_since_the_last_reset(script: list[str]) -> None:
    """For any run of events."""
    answer, expected = Answer(_JOB), ""
    for step in script:
        if step == "reset":
            expected = ""
            answer.apply(_event("reset", reason="x"))
        elif step == "started":
            answer.apply(_event("started"))
        else:
            expected += step
            answer.apply(_event("delta", text=step))
    assert answer.text == expected
    assert not answer.ended
