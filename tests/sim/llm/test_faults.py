"""The book of faults, with a clock that stands still."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.sim.llm.faults import MAX_FAULTS, Fault, FaultBook, parse
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.prompts import PROVIDERS


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def strikes(book: FaultBook, count: int, seed: int = 0) -> list[str | None]:
    struck = [book.strike("openai", "m", seed) for _ in range(count)]
    return [fault.kind if fault else None for fault in struck]


FAULTS = st.builds(
    Fault,
    kind=st.sampled_from(["status", "hang", "timeout", "slow", "cut", "garbage"]),
    rate=st.sampled_from([0.0, 0.3, 1.0]),
    count=st.none() | st.integers(1, 5),
    seconds=st.none() | st.floats(0, 10),
    provider=st.none() | st.sampled_from(PROVIDERS),
    model=st.none() | st.sampled_from(["m", "n"]),
)
REQUESTS = st.lists(st.tuples(st.sampled_from(PROVIDERS), st.sampled_from(["m", "n"]), st.floats(0, 3)), max_size=40)


@given(st.lists(FAULTS, max_size=5), REQUESTS, st.integers())
def test_a_fault_strikes_only_whom_it_may(faults: list[Fault], requests: list[Any], seed: int) -> None:
    """A strike is within the fault's reach, its count and its time, and another run strikes the same requests."""
    runs = []
    for _ in range(2):
        clock = Clock()
        book = FaultBook(clock)
        for fault in faults:
            book.add(fault)
        struck: list[Fault | None] = []
        for provider, model, pause in requests:
            clock.now += pause
            hit = book.strike(provider, model, seed)
            struck.append(hit)
            if hit:
                assert hit.provider in {None, provider}
                assert hit.model in {None, model}
                assert hit.rate > 0
                assert hit.seconds is None or clock.now < 100 + hit.seconds
        for fault in faults:
            allowed = sum(other.count or 40 for other in faults if other == fault)
            assert struck.count(fault) <= allowed
        runs.append(struck)
    assert runs[0] == runs[1]


@given(FAULTS)
def test_what_is_listed_can_be_sent_again(fault: Fault) -> None:
    """A fault's JSON is the JSON that makes it."""
    sent = {name: value for name, value in fault.to_json().items() if value is not None}
    assert parse(sent) == fault


def test_the_first_that_fits_wins() -> None:
    """Of several faults the first that fits strikes; when it is used up, the next one does."""
    book = FaultBook(Clock())
    book.add(Fault("hang", provider="anthropic"))
    book.add(Fault("cut", count=2))
    book.add(Fault("slow"))
    assert strikes(book, 4) == ["cut", "cut", "slow", "slow"]
    assert [(entry["kind"], entry["struck"]) for entry in book.entries()] == [("hang", 0), ("slow", 2)]


def test_a_window_ends() -> None:
    """A fault with `for` strikes within its seconds and is gone after them."""
    clock = Clock()
    book = FaultBook(clock)
    book.add(Fault("hang", seconds=5))
    clock.now += 4
    assert strikes(book, 1) == ["hang"]
    assert book.entries()[0]["remaining_seconds"] == 1
    clock.now += 1
    assert strikes(book, 1) == [None]
    assert book.entries() == []


def test_rate_follows_the_seed() -> None:
    """A rate strikes about that part of the requests: the same ones with the same seed, others with another."""
    book = FaultBook(Clock())
    runs = []
    for seed in (1, 1, 2):
        book.clear()
        book.add(Fault("hang", rate=0.25))
        runs.append(strikes(book, 1_000, seed))
    assert 200 < runs[0].count("hang") < 300
    assert runs[0] == runs[1] != runs[2]


def test_what_one_rate_spares_the_next_may_strike() -> None:
    """A request that the first fault lets go is considered by the second."""
    book = FaultBook(Clock())
    book.add(Fault("hang", rate=0.5))
    book.add(Fault("cut"))
    assert set(strikes(book, 50)) == {"hang", "cut"}


def test_the_book_is_bounded() -> None:
    """No more faults than the limit; used-up ones do not count."""
    book = FaultBook(Clock())
    for _ in range(MAX_FAULTS):
        book.add(Fault("hang", count=1))
    with pytest.raises(FieldError):
        book.add(Fault("hang"))
    strikes(book, 1)
    book.add(Fault("hang"))
    assert book.clear() == MAX_FAULTS


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({}, "kind"),
        ({"kind": "explode"}, "kind"),
        ({"kind": ["status"]}, "kind"),
        ({"kind": "hang", "rat": 1}, "rat"),
        ({"kind": "hang", "status": 500}, "status"),
        ({"kind": "status", "status": 200}, "status"),
        ({"kind": "status", "status": 429.5}, "status"),
        ({"kind": "status", "status": True}, "status"),
        ({"kind": "hang", "rate": 1.1}, "rate"),
        ({"kind": "hang", "rate": -0.1}, "rate"),
        ({"kind": "hang", "rate": "1"}, "rate"),
        ({"kind": "hang", "rate": 10**400}, "rate"),
        ({"kind": "hang", "count": 0}, "count"),
        ({"kind": "hang", "for": -1}, "for"),
        ({"kind": "cut", "after_tokens": -1}, "after_tokens"),
        ({"kind": "slow", "factor": 0.5}, "factor"),
        ({"kind": "timeout", "delay": False}, "delay"),
        ({"kind": "hang", "provider": "openrouter"}, "provider"),
        ({"kind": "hang", "model": ""}, "model"),
    ],
)
def test_bad_faults_are_refused(data: dict[str, Any], name: str) -> None:
    """What is no fault is refused by the name of the field that is wrong."""
    with pytest.raises(FieldError) as refused:
        parse(data)
    assert refused.value.name == name
