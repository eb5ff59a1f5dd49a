"""Identifiers sort by the time they were made, and no clock can put a later turn before an earlier one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia import ids

ULIDS = st.from_regex(r"[0-7][0-9a-hjkmnp-tv-z]{25}", fullmatch=True)
TIMES = st.floats(0, 2**47 / 1000)
"""Epoch seconds up to the year 6429: 48 bits of milliseconds, with room above."""


class Clock:
    """A clock that says what it is told, in place of the module `time`."""

    def __init__(self, times: list[float]) -> None:
        self.times = times

    def time(self) -> float:
        return self.times.pop(0)


@given(TIMES, TIMES)
def test_ids_sort_by_their_time(one: float, other: float) -> None:
    """Of two ids made at least a millisecond apart, the later one is greater."""
    earlier, later = sorted((one, other))
    if int(earlier * 1000) < int(later * 1000):
        assert ids.new(at=earlier) < ids.new(at=later)


@given(TIMES, ULIDS)
def test_an_id_is_greater_than_the_one_before_whatever_the_clock_says(at: float, before: str) -> None:
    """`after` wins over a clock that went backwards, stood still, or is right."""
    made = ids.new(at=at, after=before)
    assert made > before
    assert len(made) == 26


def test_ids_of_one_moment_differ() -> None:
    """The random part tells ids of the same millisecond apart."""
    assert len({ids.new(at=1_700_000_000) for _ in range(1000)}) == 1000


@given(st.lists(TIMES, min_size=1, max_size=20))
def test_turns_sort_in_the_order_they_were_accepted(times: list[float]) -> None:
    """I3: message ids rise with every turn, and an answer stands between its question and the next one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "time", Clock(list(times)))
        previous: str | None = None
        seen: list[str] = []
        for _ in times:
            job_id, message_id = ids.turn_ids(previous)
            assert ids.job_id(message_id) == ids.job_id(ids.reply_id(message_id)) == job_id
            seen += [message_id, ids.reply_id(message_id)]
            previous = message_id
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    ("made", "prefix"),
    [
        (ids.conversation_id(), "cnv"),
        (ids.turn_ids(None)[0], "job"),
        (ids.turn_ids(None)[1], "msg"),
        (ids.reply_id(ids.turn_ids(None)[1]), "msg"),
        (ids.part_id("wrk"), "wrk"),
    ],
    ids=["conversation", "job", "message", "reply", "part"],
)
def test_an_id_is_known_by_its_kind(made: str, prefix: str) -> None:
    """What is made here is an id of its own kind and of no other."""
    assert ids.is_id(made, prefix)
    assert not any(ids.is_id(made, other) for other in {"cnv", "job", "msg", "wrk"} - {prefix})


@given(st.text(max_size=40) | st.from_regex(r"(cnv|job|msg)_[0-9a-z]{25,28}\n?", fullmatch=True))
def test_only_26_characters_of_the_alphabet_are_an_id(text: str) -> None:
    """Any other text, of another length or with a letter Crockford left out, is none."""
    for prefix in ("cnv", "job", "msg"):
        if ids.is_id(text, prefix):
            assert set(text[4:]) <= set("0123456789abcdefghjkmnpqrstvwxyz")
            assert len(text) == (31 if prefix == "msg" else 30)


def test_a_message_id_bears_its_role_and_no_other_id_does() -> None:
    """A message id without its last digit could not name an answer; a job id with one would be another's."""
    ulid = ids.new()
    assert not ids.is_id(f"msg_{ulid}", "msg")
    assert not ids.is_id(f"job_{ulid}0", "job")
    assert not ids.is_id(f"cnv_{ulid}1", "cnv")
    assert not ids.is_id(f"msg_{ulid}2", "msg")


@pytest.mark.parametrize("text", ["", "job", "job_", "job_é" + "0" * 25, "JOB_" + "0" * 26, "job_" + "0" * 26 + "\n"])
def test_near_misses_are_no_ids(text: str) -> None:
    """Case, emptiness and a newline at the end are not overlooked."""
    assert not ids.is_id(text, "job")


@given(st.floats(0, 253_402_300_799))
def test_times_are_iso_8601_in_utc(at: float) -> None:
    """A time is written with milliseconds and `Z`, and read back to the millisecond."""
    text = ids.iso(at)
    assert text.endswith("Z")
    assert len(text) == len("2026-11-22T21:12:00.123Z")
    read: Any = datetime.fromisoformat(text)
    assert read.tzinfo == UTC
    assert abs(read.timestamp() - at) < 0.002
