"""Which case answers which request: jobs take turns and keep them, and what cannot be played is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from cloudia.sim.llm.case import parse
from cloudia.sim.llm.corpus import corpus
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.plays import MAX_JOBS, MAX_TURNS, Plays


def _case(*turns: list[str], api: str = "openai") -> dict[str, Any]:
    """A case whose answers are texts."""
    return {
        "name": "own",
        "api": api,
        "turns": [{"exchanges": [{"body": [{"text": text}]} for text in turn]} for turn in turns],
    }


def _said(plays: Plays, job_id: str | None, **body: Any) -> bytes | None:
    turn = plays.take("openai", job_id)
    return turn and turn.answer("openai", body, "/v1/chat/completions").body[0]  # type: ignore[return-value]


def test_a_job_takes_a_turn_and_keeps_it() -> None:
    """Two jobs side by side have a turn each; the last answer of a turn repeats; a third job is spared."""
    plays = Plays()
    plays.add({"case": _case(["one", "two"], ["three"])})
    assert plays.entries() == [{"name": "own", "turns": 2}]
    asked = ["a", "b", "a", "a", "b", "c", "a"]
    assert [_said(plays, job) for job in asked] == [b"one", b"three", b"two", b"two", b"three", None, b"two"]
    assert plays.entries() == []


def test_without_a_job_the_answers_follow_each_other() -> None:
    """A client of another kind gets each answer once, and then none."""
    plays = Plays()
    plays.add({"case": _case(["one", "two"], ["three"])})
    assert [_said(plays, None) for _ in range(4)] == [b"one", b"two", b"three", None]


def test_a_refusal_uses_nothing_up() -> None:
    """While the rule holds the request is refused; then it is answered."""
    plays = Plays()
    case = _case(["one"])
    case["turns"][0]["exchanges"][0]["refuse_if"] = [{"rule": {"has_field": "seed"}, "body": [{"text": "no seed"}]}]
    plays.add({"case": case})
    assert [_said(plays, "a", seed=1), _said(plays, "a", seed=1), _said(plays, "a")] == [b"no seed", b"no seed", b"one"]


def test_a_case_waits_for_its_api() -> None:
    """A case of the other vendor does not strike, and does not stand in the way of one that does."""
    plays = Plays()
    plays.add({"case": _case(["theirs"], api="anthropic")})
    plays.add({"case": _case(["ours"]), "times": 2})
    assert [_said(plays, job) for job in "abc"] == [b"ours", b"ours", None]
    assert plays.clear() == 1


def test_jobs_are_remembered_within_a_bound() -> None:
    """The oldest job is forgotten first, and takes a new turn if it comes again."""
    plays = Plays()
    plays.add({"case": _case(["one"]), "times": MAX_TURNS})
    assert {_said(plays, str(job)) for job in range(MAX_JOBS)} == {b"one"}
    assert _said(plays, "0") == b"one"
    assert plays.entries() == []
    plays.add({"case": _case(["two"])})
    assert _said(plays, "new") == b"two"
    assert _said(plays, "0") is None


def test_the_bytes_of_an_answer() -> None:
    """Head, framing, cuts and pauses are as the case has them."""
    exchange = {
        "status": 429,
        "headers": {"retry-after": {"http_date_in_seconds": 60}, "x-a": "b"},
        "body": [{"text": "ab"}, {"pause_ms": 250}, {"base64": "AP8="}],
        "split": 1,
    }
    ((answer,),) = parse({"api": "openai", "turns": [{"exchanges": [exchange]}]}).turns[0].values()
    assert answer.head(0.0) == (
        b"HTTP/1.1 429 Case\r\ncontent-type: application/json\r\nretry-after: Thu, 01 Jan 1970 00:01:00 GMT\r\n"
        b"x-a: b\r\ncontent-length: 4\r\n\r\n"
    )
    assert list(answer.writes()) == [b"a", b"b", 0.25, b"\0", b"\xff"]
    ((chunked,),) = (
        parse({"api": "openai", "turns": [{"exchanges": [{"body": [{"text": "abc", "times": 4}]}]}]}).turns[0].values()
    )
    assert list(chunked.writes()) == [b"c\r\nabcabcabcabc\r\n", b"0\r\n\r\n"]


def test_every_case_that_comes_with_cloudia_can_be_played() -> None:
    """Each parses, under the name of its file, which no other has."""
    names = [parse(case).name for case in corpus()]
    assert len(names) == len(set(names)) > 80


@pytest.mark.parametrize(
    ("exchange", "said"),
    [
        ({"colour": 1}, "colour is not a field"),
        ({"status": 1000}, "status must be"),
        ({"framing": "morse"}, "framing must be one of"),
        ({"end": "never"}, "end must be one of"),
        ({"headers": {"x": "a\r\nb: c"}}, "headers x must be"),
        ({"headers": {"x": "☃"}}, "headers x must be"),
        ({"headers": {"x": {"later": 1}}}, "later is not a field"),
        ({"body": [{"base64": "%"}]}, "base64 is not base64"),
        ({"body": [{"text": "x" * 1024, "times": 10**9}]}, "times must be between"),
        ({"body": [{"text": "x" * 1024, "times": 10_000}] * 2}, "body must have"),
        ({"body": [{"pause_ms": -1}]}, "pause_ms must be"),
        ({"refuse_if": [{"rule": {"is_monday": 1}}]}, "is_monday is not a field"),
    ],
)
def test_what_cannot_be_played_is_refused(exchange: dict[str, Any], said: str) -> None:
    """The error names the field."""
    with pytest.raises(FieldError, match=said):
        parse({"api": "openai", "turns": [{"exchanges": [exchange]}]})


@pytest.mark.parametrize("case", [{}, {"api": "openai"}, {"api": "openai", "turns": [{}]}, {"api": "x", "turns": [1]}])
def test_a_case_has_an_api_and_answers(case: dict[str, Any]) -> None:
    """Without them there is nothing to play."""
    with pytest.raises(FieldError):
        parse(case)


def test_the_queue_is_bounded() -> None:
    """More turns than may wait are refused, and change nothing."""
    plays = Plays()
    plays.add({"case": _case(["one"]), "times": MAX_TURNS})
    with pytest.raises(FieldError, match="turns would wait"):
        plays.add({"case": _case(["one"])})
    assert plays.waiting == MAX_TURNS
