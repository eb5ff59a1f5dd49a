"""The two frames of the WebSocket: what a client may say, and what it hears."""

from __future__ import annotations

import contextlib
import json
import string
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudia.errors import InvalidRequestError
from cloudia.protocol import EVENT_TYPES, Event, Hello, event_order

_TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
_EVENT_IDS = st.builds("{}-{}".format, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 2))
_patient = settings(deadline=None)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_DATA = st.dictionaries(
    st.text(string.ascii_lowercase, min_size=1, max_size=8).filter(
        lambda name: name not in {"type", "id", "job_id", "conversation_id", "attempt"}
    ),
    _JSON,
    max_size=4,
)


@_patient
@given(_TEXT.filter(bool), st.none() | _TEXT, st.none() | _EVENT_IDS)
def test_a_hello_survives_the_wire(token: str, session_id: str | None, last_event_id: str | None) -> None:
    """What a client encodes is what the gateway decodes."""
    hello = Hello(token, session_id, last_event_id)
    assert Hello.decode(hello.encode()) == hello


@_patient
@given(
    st.builds(
        Event,
        st.sampled_from(sorted(EVENT_TYPES)),
        st.none() | _TEXT,
        st.none() | _TEXT,
        st.none() | st.integers(1, 99),
        _DATA,
        st.none() | _EVENT_IDS,
    )
)
def test_an_event_survives_the_wire(event: Event) -> None:
    """What is logged is what the client decodes, with or without an id."""
    assert Event.decode(event.encode()) == event


@_patient
@given(st.sampled_from(sorted(EVENT_TYPES)), _DATA, _EVENT_IDS)
def test_the_id_of_the_log_is_the_events_id(kind: str, data: dict[str, Any], event_id: str) -> None:
    """An entry bears no id of its own: the log's is given to it."""
    logged = Event(kind, "job", data=data).encode()
    assert "id" not in json.loads(logged)
    assert Event.decode(logged, event_id=event_id).id == event_id


@_patient
@given(_EVENT_IDS, _EVENT_IDS)
def test_events_are_ordered_by_both_numbers(one: str, other: str) -> None:
    """The order is that of a Redis stream: milliseconds first, then the sequence."""
    expected = tuple(map(int, one.split("-"))) < tuple(map(int, other.split("-")))
    assert (event_order(one) < event_order(other)) == expected


@_patient
@given(st.text() | st.binary() | _JSON.map(json.dumps))
@example("")
@example("[" * 50_000)
@example('{"type": "hello", "token": "t", "last_event_id": "1-1\\n"}')
@example('{"type": "hello", "token": "\\ud800"}')
def test_whatever_is_no_hello_is_refused_as_invalid(raw: str | bytes) -> None:
    """No frame makes decoding fail in any other way than by saying what is wrong."""
    with contextlib.suppress(InvalidRequestError):
        assert Hello.decode(raw).token


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"type": "hello", "token": "t"}', "bad_frame"),
        ("", "not_json"),
        ("hello", "not_json"),
        ("[]", "invalid_request"),
        ('"hello"', "invalid_request"),
        ("{}", "no_hello"),
        ('{"type": "ready"}', "no_hello"),
        ('{"type": ["hello"], "token": "t"}', "no_hello"),
        ('{"type": "hello"}', "no_token"),
        ('{"type": "hello", "token": ""}', "no_token"),
        ('{"type": "hello", "token": 1}', "wrong_type"),
        ('{"type": "hello", "token": "t", "session_id": 1}', "wrong_type"),
        ('{"type": "hello", "token": "t", "last_event_id": 1}', "wrong_type"),
        ('{"type": "hello", "token": "t", "sesion_id": "x"}', "unknown_field"),
        ('{"type": "hello", "token": "t", "last_event_id": ""}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "1"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "-1-1"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "1-2-3"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "+"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "$"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "\\u0661-\\u0661"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "(1-1"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "18446744073709551616-0"}', "bad_last_event_id"),
        (
            '{"type": "hello", "token": "t", "last_event_id": "18446744073709551615-18446744073709551615"}',
            "bad_last_event_id",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong(raw: str | bytes, code: str) -> None:
    """Each kind of wrong hello has its code."""
    with pytest.raises(InvalidRequestError) as refused:
        Hello.decode(raw)
    assert refused.value.code == code


@_patient
@given(st.text() | st.binary() | _JSON.map(json.dumps) | st.builds(lambda kind: json.dumps({"type": kind}), _JSON))
def test_whatever_is_no_event_is_refused_as_invalid(raw: str | bytes) -> None:
    """A client that hears something else than an event learns so by one error."""
    with contextlib.suppress(InvalidRequestError):
        assert Event.decode(raw).type in EVENT_TYPES
