"""The pause that a provider asks for, wherever it says so."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.worker.providers.pauses import pause_of_body, pause_of_headers, pause_until_reset


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 50.597142857s. Visit https://example.com/7", 50.597142857),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 1m2.5s", 62.5),
        ("please retry after 26 seconds", 26),
        ("Retry after 1 minute and 5 seconds.", 65),
        ("try again in 2 hours", 600),
        ("retry 3 times, model m5s", None),
        ("Limit 7000, used 0. Try again later.", None),
        ("", None),
    ],
)
def test_a_pause_in_words(text: str, seconds: float | None) -> None:
    """A duration behind words that ask to wait; no other number is one. At most ten minutes."""
    assert pause_of_body([{"message": text}]) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("level", "seconds"),
    [
        ({"retryDelay": "39s"}, 39),
        ({"retry_after": 7}, 7),
        ({"retry_after_ms": 1500}, 1.5),
        ({"headers": {"Retry-After": "7"}}, 7),
        ({"headers": {"X-RateLimit-Reset": "4000000000000", "X-RateLimit-Remaining": "0"}}, 600),
        ({"retry_after": True}, None),
        ({"retryDelay": "soon", "headers": 5, "message": 5}, None),
    ],
)
def test_a_pause_in_an_errors_object(level: dict[str, Any], seconds: float | None) -> None:
    """Fields of several makes, and headers that a body quotes; what makes no sense is none."""
    assert pause_of_body([{}, level]) == seconds


def test_the_standards_header_is_taken_as_it_is() -> None:
    """Milliseconds are finer; a date is a time of the clock."""
    assert pause_of_headers({"retry-after": "2", "retry-after-ms": "1500.5"}) == pytest.approx(1.5005)
    soon = pause_of_headers({"retry-after": formatdate(time.time() + 100, usegmt=True)})
    assert soon is not None
    assert 90 < soon <= 100
    assert pause_of_headers({}) is None


@pytest.mark.parametrize(
    ("requests", "tokens", "seconds"),
    [
        (("0", "6m0s"), ("900", "20ms"), 360),
        (("5", "6m0s"), ("0", "20ms"), 0.02),
        (("0", "1s"), ("0", "2s"), 2),
        (("5", "6m0s"), ("900", "20ms"), 0.02),
    ],
)
def test_the_budget_that_is_used_up_counts(requests: tuple[str, str], tokens: tuple[str, str], seconds: float) -> None:
    """The longest of those that are empty; where none is, the request was too large for the first that is filled anew."""
    for before, after in (("x-ratelimit-", ""), ("anthropic-ratelimit-", "")):
        headers = {}
        for dimension, (left, reset) in (("requests", requests), ("tokens", tokens)):
            for word, value in (("remaining", left), ("reset", reset)):
                name = f"{before}{word}-{dimension}" if before.startswith("x") else f"{before}{dimension}-{word}"
                headers[name + after] = value
        assert pause_until_reset(headers) == pytest.approx(seconds)
    assert pause_until_reset({"x-ratelimit-limit-requests": "5"}) is None


@given(st.text(max_size=60))
def test_any_text_is_a_pause_or_none(text: str) -> None:
    """Nothing that a server writes is an error of ours, or a pause beyond the longest."""
    for pause in (
        pause_of_headers({"retry-after": text}),
        pause_of_body([text, {"message": text, "retryDelay": text}]),
    ):
        assert pause is None or 0 <= pause <= 600
