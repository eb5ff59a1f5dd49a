"""Why a message was late, or not answered: each case of the design's table that a record can tell. No service runs."""

from __future__ import annotations

from typing import Any

import pytest

from cloudia.operate.why import Evidence, why
from cloudia.protocol import Job
from tests.operate.records import T, attempt, failed, job

ALIVE = ({"id": "wrk_1"}, {"id": "wrk_2"})


def explain(record: Job, *, at: float = 100, **found: Any) -> str:
    """Return the sentence and the advice about a record, looked at so many seconds after its acceptance."""
    answer = why(Evidence(job=record, now=T + at, **{"workers": ALIVE, **found}))
    return f"{answer.sentence} {answer.advice}".strip()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (job("done", attempt(1, 0.1, 0.9, first=0.3, outcome="done"), ended=0.9), "nothing held it up"),
        (
            job("done", failed(1, 0.1, 0.2, delay=4), attempt(2, 4.3, 5, first=4.5, outcome="done"), ended=5),
            "4.1 s of that went to 1 failed attempt (llm_failed) and the back-off",
        ),
        (
            job("done", attempt(1, 1), attempt(2, 61, 62, first=61.5, outcome="done"), ended=62),
            "60.0 s of that went to 1 failed attempt (its worker died) and the back-off",
        ),
        (job("done", attempt(1, 8, 9, first=8.5, outcome="done"), ended=9), "8.0 s of that it waited in the queue"),
        (
            job("done", attempt(1, 0.1, 50, first=46, outcome="done"), ended=50),
            "45.9 s of that the LLM took to its first text",
        ),
        (
            job("done", attempt(1, 0.1, 20, first=1, outcome="done"), ended=20),
            "19.0 s of that the answer was streaming",
        ),
        (
            job("done", failed(1, 0, 1, delay=None), attempt(1, 31, 32, first=31.5, outcome="done"), ended=32),
            "30.0 s of that it lay in the DLQ until it was redriven",
        ),
        (job("done", attempt(1, 0.1, 0.9, first=0.3, outcome="done", finish="length"), ended=0.9), "It is cut"),
    ],
)
def test_an_answer_and_what_held_it_up(record: Job, said: str) -> None:
    """What took longest is the reason; where nothing took a second, nothing is."""
    assert said in explain(record)
    assert explain(record).startswith("It was answered")


@pytest.mark.parametrize(
    ("record", "found", "said"),
    [
        (
            job(
                "failed",
                attempt(1, 0.1, 0.4, outcome="failed"),
                ended=0.4,
                error={"code": "llm_unavailable", "message": "The LLM is away.", "hint": "Its breaker is open."},
            ),
            {},
            "It was not answered: it failed at attempt 1 with llm_unavailable: The LLM is away. Its breaker is open.",
        ),
        (job("failed", ended=4, error={"code": "purged"}), {}, "its message was purged from the queue"),
        (job("failed", ended=4, error={"code": "not_answered"}), {}, "no worker ever took it. Do workers run?"),
        (
            job("dead_lettered", *[failed(n, n, n + 0.5, delay=2) for n in range(1, 5)], failed(5, 9, 9.5, delay=None),
                ended=9.5, error={"code": "llm_failed", "message": "It failed."}),
            {"letter": True},
            "ended with llm_failed: It failed. Mend the cause, then run `cloudia dlq redrive job_1`.",
        ),
        (job("dead_lettered", failed(1, 1, 2, delay=None), ended=2), {"letter": False}, "not in the DLQ any more"),
        (
            job("cancelled", attempt(1, 0.1, 2, first=1, outcome="cancelled"), ended=2),
            {},
            "It was stopped 2.0 s after it was accepted, as its user asked; what had come until then is kept.",
        ),
        (job("cancelled", ended=2), {}, "no text had come yet"),
    ],
)  # fmt: skip
def test_no_answer(record: Job, found: dict[str, Any], said: str) -> None:
    """What the record says of the end, and what can be done."""
    assert said in explain(record, **found)


@pytest.mark.parametrize(
    ("record", "found", "said"),
    [
        (
            job("queued"),
            {"workers": ()},
            "it has waited 1.7 min, and no worker gives a sign of life. See `cloudia status`",
        ),
        (job("queued"), {"waiting": 7}, "for a worker to have room; 7 messages wait in the queue"),
        (job("queued"), {"earlier": "job_0"}, "an earlier message of its conversation, job_0, has not ended"),
        (
            job("queued", failed(1, 97, 98, delay=4)),
            {},
            "attempt 1 failed (llm_failed: openai answered 500), and the next one is due in 2.0 s",
        ),
        (job("running", attempt(1, 90)), {}, "attempt 1 has lasted 10.0 s, and sim-1 has sent no text yet"),
        (job("running", attempt(1, 90, first=91)), {}, "and text came after 1.0 s"),
        (
            job("running", attempt(1, 90, worker_id="wrk_dead")),
            {},
            "its worker wrk_dead gives no sign of life. Another worker takes it over",
        ),
    ],
)
def test_not_yet(record: Job, found: dict[str, Any], said: str) -> None:
    """What it waits for."""
    assert said in explain(record, **found)


def test_the_evidence() -> None:
    """Each attempt with its end, each wait that is long, the workers, and what is known of the delivery."""
    record = job(
        "done",
        failed(1, 2, 3, delay=2, switches=["openai gpt: breaker_open"]),
        attempt(2, 5, 6, first=5.5, outcome="done"),
        ended=6,
        session_id="ses_1",
    )
    evidence = why(Evidence(job=record, now=T + 9, connected=False, logged=True)).evidence
    assert evidence == (
        "record: done after 6.0 s, 2 attempts",
        "queue: 2.0 s",
        "attempt 1: retried after 1.0 s (llm_failed: openai answered 500), wrk_1",
        "attempt 1 passed over openai gpt: breaker_open",
        "back-off 2 s: 2.0 s",
        "attempt 2: done after 1.0 s, wrk_2",
        "delivery: its last event is in the session's log",
        "delivery: the session has no connection now; a client that resumes gets what it missed",
    )


@pytest.mark.parametrize(
    ("session", "found", "said"),
    [
        (None, {}, "posted without a session"),
        ("ses_1", {"logged": False}, "has not its last event, any more; the answer is read over HTTP"),
        ("ses_1", {"connected": True}, "the session is connected"),
    ],
)
def test_the_delivery(session: str | None, found: dict[str, Any], said: str) -> None:
    """Who could have it, and where it is read else."""
    record = job("done", attempt(1, 0, 1, first=0.5, outcome="done"), ended=1, session_id=session)
    assert any(said in line for line in why(Evidence(job=record, now=T + 9, **found)).evidence)
