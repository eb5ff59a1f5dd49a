"""A waterfall: what one message's time went to. No service runs; the records are made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.operate.waterfall import Waterfall, shown, waterfall
from cloudia.protocol import AttemptRecord
from tests.operate.records import T, attempt, failed, job


def parts(drawn: Waterfall) -> list[tuple[str, float, float]]:
    """Return name, beginning and end of each part, in seconds since the acceptance."""
    return [(part.name, round(part.began_at - T, 3), round(part.ended_at - T, 3)) for part in drawn.parts]


def test_two_failures_and_an_answer() -> None:
    """Queue, attempts and back-offs stand one after another; the last attempt has its first text and its streaming."""
    record = job(
        "done",
        failed(1, 0.1, 0.4, delay=2, usage={"cost_usd": 0.5}),
        failed(2, 2.5, 2.6, delay=4),
        attempt(3, 6.8, 9.8, first=7.8, outcome="done", usage={"cost_usd": 0.25}),
        ended=9.8,
    )
    drawn = waterfall(record, now=T + 100)
    assert parts(drawn) == [
        ("queue", 0, 0.1),
        ("attempt 1", 0.1, 0.4),
        ("back-off 2 s", 0.4, 2.4),
        ("queue", 2.4, 2.5),
        ("attempt 2", 2.5, 2.6),
        ("back-off 4 s", 2.6, 6.6),
        ("queue", 6.6, 6.8),
        ("attempt 3", 6.8, 9.8),
        ("first text", 6.8, 7.8),
        ("streaming", 7.8, 9.8),
    ]
    assert [part.failed for part in drawn.parts if part.kind == "attempt"] == [True, True, False]
    assert round(drawn.seconds, 3) == 9.8
    assert round(drawn.spent("back_off"), 3) == 6
    assert drawn.cost_usd == 0.75


@pytest.mark.parametrize(
    ("record", "last"),
    [
        (job("queued"), ("queue", 0, 5)),
        (job("running", attempt(1, 1)), ("attempt 1", 1, 5)),
        (job("running", attempt(1, 1, first=2)), ("streaming", 2, 5)),
        (job("queued", failed(1, 1, 4, delay=2)), ("back-off 2 s", 4, 5)),
        (job("queued", failed(1, 1, 2, delay=2)), ("queue", 4, 5)),
        (job("queued", failed(1, 1, 2, delay=None)), ("dead letter", 2, 5)),
        (job("queued", attempt(1, 1, 2, outcome="handed_back")), ("queue", 2, 5)),
    ],
)
def test_what_goes_on_lasts_until_now(record: object, last: tuple[str, float, float]) -> None:
    """The last part of a message that is not answered goes on, and only that."""
    drawn = waterfall(record, now=T + 5)  # type: ignore[arg-type]
    assert parts(drawn)[-1] == last
    assert drawn.parts[-1].goes_on
    assert drawn.seconds == 5


def test_an_attempt_that_never_ended_is_lost() -> None:
    """Its worker died: it lasts until the next attempt, or the job's end."""
    record = job("done", attempt(1, 1), attempt(2, 61, 62, first=61.5, outcome="done"), ended=62)
    lost, *_ = [part for part in waterfall(record, now=T + 100).parts if part.kind == "attempt"]
    assert (lost.outcome, lost.failed, lost.ended_at) == ("lost", True, T + 61)
    record = job("dead_lettered", attempt(1, 1), ended=9)
    assert parts(waterfall(record, now=T + 100))[-1] == ("attempt 1", 1, 9)


def test_a_dead_letter_and_its_redrive_are_one_message() -> None:
    """What lies between them is the time in the DLQ; the attempts are counted anew."""
    record = job("done", failed(1, 0, 1, delay=None), attempt(1, 31, 32, first=31.5, outcome="done"), ended=32)
    assert parts(waterfall(record, now=T + 100))[2:4] == [("dead letter", 1, 31), ("attempt 1", 31, 32)]


def test_a_job_that_ended_without_an_attempt_only_waited() -> None:
    """Such as one that was purged."""
    drawn = waterfall(job("failed", ended=7, error={"code": "purged"}), now=T + 100)
    assert parts(drawn) == [("queue", 0, 7)]
    assert drawn.parts[0].told == "purged"
    drawn = waterfall(job("failed", failed(1, 1, 2, delay=2), ended=7, error={"code": "purged"}), now=T + 100)
    assert parts(drawn)[-1] == ("queue", 2, 7)


def test_a_negative_wait_is_nothing_and_says_so() -> None:
    """The clocks of two machines differ: an attempt that began before its message was accepted."""
    drawn = waterfall(job("done", attempt(1, -3, 2, first=1, outcome="done"), ended=2), now=T + 100)
    assert (drawn.parts[0].seconds, drawn.parts[0].skewed) == (0, True)
    assert not any(part.skewed for part in drawn.parts[1:])


TIMES = st.floats(-10, 1000)


@given(
    st.lists(
        st.builds(
            AttemptRecord,
            attempt=st.integers(1, 5),
            fence=st.integers(1, 9),
            worker_id=st.just("wrk"),
            began_at=TIMES.map(lambda seconds: T + seconds),
            first_text_at=st.none() | TIMES.map(lambda seconds: T + seconds),
            ended_at=st.none() | TIMES.map(lambda seconds: T + seconds),
            outcome=st.sampled_from(["done", "retried", "dead_lettered", "handed_back", None]),
            delay=st.none() | st.integers(0, 16),
        ),
        max_size=6,
    ),
    st.sampled_from(["queued", "running", "done", "dead_lettered"]),
    TIMES,
)
def test_whatever_the_clocks_say_no_part_is_negative(attempts: list[AttemptRecord], status: str, now: float) -> None:
    """Nor does a record that makes no sense break it."""
    drawn = waterfall(job(status, *attempts, ended=now), now=T + now)  # type: ignore[arg-type]
    assert all(part.seconds >= 0 for part in drawn.parts)
    assert drawn.seconds >= 0


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0 ms"), (0.12, "120 ms"), (4.21, "4.2 s"), (210, "3.5 min")])
def test_times_are_short(seconds: float, text: str) -> None:
    """Each fits eight characters."""
    assert shown(seconds) == text
