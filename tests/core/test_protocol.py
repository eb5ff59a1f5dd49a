"""What goes over a wire: it comes back as it was sent, and nothing else is let in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloudia import ids
from cloudia.errors import InvalidRequestError, RequestError, TooLargeError
from cloudia.protocol import (
    EVENT_TYPES,
    MAX_DELTA_CHARACTERS,
    MAX_FRAME_BYTES,
    TERMINAL_EVENTS,
    TERMINAL_STATUSES,
    VERSION,
    Accepted,
    Conversation,
    Event,
    Hello,
    Job,
    JobStatus,
    Message,
    Page,
    PostMessage,
    QueuedJob,
    decode_object,
    event_order,
)

CNV = ids.conversation_id()
JOB, MSG = ids.turn_ids(None)
LIMIT = 1000
API_GATEWAY_FRAME = 32 * 1024

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
SQS_TEXT = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SPELT = st.text()
"""With halves of surrogate pairs, which JSON can spell."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | SPELT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SPELT, inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted(
    {"v", "type", "id", "token", "last_event_id", "attempt", "idempotency_key"} | set(QueuedJob.__dataclass_fields__)
)
PLAUSIBLE = st.sampled_from([VERSION, "hello", "done", "delta", CNV, JOB, MSG, "1-0", 1.0])
DOCUMENTS = (
    JSON
    | st.dictionaries(st.sampled_from(FIELDS), JSON | PLAUSIBLE)
    | st.dictionaries(st.sampled_from(FIELDS) | SPELT, JSON | PLAUSIBLE)
)


def post(raw: Any) -> PostMessage:
    return PostMessage.decode(raw, max_content_bytes=LIMIT)


def refusal(decode: Callable[[Any], object], raw: object) -> RequestError | None:
    """Return why something is refused, None where it is taken."""
    try:
        decode(raw)
    except RequestError as error:
        return error
    return None


DECODERS: list[Callable[[Any], object]] = [decode_object, post, QueuedJob.decode, Hello.decode, Event.decode]


def job(**changes: Any) -> QueuedJob:
    fields = {"content": "hello", "user_id": "alice", "accepted_at": 1_700_000_000.25}
    return QueuedJob(**{"job_id": JOB, "conversation_id": CNV, "message_id": MSG, **fields, **changes})


@pytest.mark.parametrize("decode", DECODERS)
@given(DOCUMENTS)
@example({"type": []})
@example({"type": {"done": 1}})
def test_whatever_json_is_decoded_only_request_errors_are_raised(
    decode: Callable[[Any], object], document: object
) -> None:
    """Any JSON value is taken or refused by a `RequestError`; nothing else ever comes out."""
    error = refusal(decode, json.dumps(document))
    if error:
        assert json.dumps(error.to_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize("decode", DECODERS)
@given(st.text() | st.binary())
@example("[" * 100_000)
@example('{"type":' * 50_000)
@example('{"v": ' + "9" * 10_000 + "}")
@example("\ufeff{}")
@example(b"\xff\xfe{\x00}\x00")
@example("NaN")
def test_whatever_text_is_decoded_only_request_errors_are_raised(
    decode: Callable[[Any], object], raw: str | bytes
) -> None:
    """The same for text that is no JSON, bytes that are no UTF-8, and nesting or numbers beyond all bounds."""
    error = refusal(decode, raw)
    assert error is None or error.message


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (None, "not_json"),
        ("", "not_json"),
        (b"", "not_json"),
        ("{", "not_json"),
        (b"\xff", "not_utf8"),
        ("[]", "invalid_request"),
        ('"text"', "invalid_request"),
    ],
)
def test_a_body_is_one_json_object(raw: Any, code: str) -> None:
    """The code says which of the three it is not: UTF-8, JSON, an object."""
    with pytest.raises(InvalidRequestError) as refused:
        decode_object(raw)
    assert refused.value.code == code


# --- POST /messages --------------------------------------------------------------------------------------------------


@given(
    TEXT.filter(str.strip),
    st.sampled_from([None, CNV]),
    st.none() | TEXT,
    st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128),
)
def test_a_message_comes_back_as_it_was_posted(
    content: str, conversation_id: str | None, session_id: str | None, key: str | None
) -> None:
    """`decode` is the inverse of `to_json`, from text and from bytes."""
    sent = PostMessage(content, conversation_id, session_id, key)
    raw = json.dumps(sent.to_json(), ensure_ascii=False)
    for body in (raw, raw.encode()):
        assert PostMessage.decode(body, max_content_bytes=len(content.encode())) == sent


@given(st.integers(1, 50), st.sampled_from("aé€😀"))
def test_the_limit_is_in_bytes_and_exact(count: int, character: str) -> None:
    """Content of exactly the limit is taken; one byte more is `TooLargeError`, which names both numbers."""
    content = character * count
    size = len(content.encode())
    body = json.dumps({"content": content})
    assert PostMessage.decode(body, max_content_bytes=size).content == content
    with pytest.raises(TooLargeError) as refused:
        PostMessage.decode(body, max_content_bytes=size - 1)
    assert str(size) in refused.value.message
    assert str(size - 1) in refused.value.message
    assert refused.value.code == "content_too_large"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "empty_content"),
        ({"content": None}, "empty_content"),
        ({"content": ""}, "empty_content"),
        ({"content": " \n\t "}, "empty_content"),
        ({"content": 5}, "wrong_type"),
        ({"content": ["x"]}, "wrong_type"),
        ({"content": "\ud800"}, "not_utf8"),
        ({"content": "x", "contents": "y"}, "unknown_field"),
        ({"content": "x", "user_id": "mallory"}, "unknown_field"),
        ({"content": "x", "conversation_id": "mine"}, "bad_conversation_id"),
        ({"content": "x", "conversation_id": JOB}, "bad_conversation_id"),
        ({"content": "x", "conversation_id": 1}, "wrong_type"),
        ({"content": "x", "session_id": {}}, "wrong_type"),
        ({"content": "x", "idempotency_key": ""}, "bad_idempotency_key"),
        ({"content": "x", "idempotency_key": "k" * 129}, "bad_idempotency_key"),
        ({"content": "x", "idempotency_key": "é"}, "bad_idempotency_key"),
        ({"content": "x", "idempotency_key": "a\nb"}, "bad_idempotency_key"),
        ({"content": "x", "idempotency_key": 7}, "wrong_type"),
    ],
)
def test_a_bad_body_is_refused_by_name(fields: dict[str, Any], code: str) -> None:
    """Each mistake has its code, and nobody can post as someone else."""
    with pytest.raises(InvalidRequestError) as refused:
        post(json.dumps(fields))
    assert refused.value.code == code


# --- the queue -------------------------------------------------------------------------------------------------------


@given(TEXT, TEXT, st.none() | TEXT, st.none() | TEXT, st.floats(0, 4_000_000_000) | st.integers(0, 4_000_000_000))
def test_a_queued_job_comes_back_as_it_was_sent(
    content: str, user_id: str, session_id: str | None, previous: str | None, at: float
) -> None:
    """`decode` is the inverse of `encode`, whatever the text."""
    sent = job(content=content, user_id=user_id, session_id=session_id, previous_message_id=previous, accepted_at=at)
    assert QueuedJob.decode(sent.encode()) == sent


@given(TEXT)
@example("\ufffe\uffff")
@example("\x00\x1b\x7f\u2028")
def test_a_queued_job_has_only_characters_that_sqs_takes(content: str) -> None:
    """I1: SQS refuses U+FFFE, U+FFFF and control characters; a message that was recorded must be sendable."""
    assert SQS_TEXT.fullmatch(job(content=content, user_id=content).encode())


def test_text_is_not_blown_up_on_the_queue() -> None:
    """Letters of any script travel as UTF-8, not as escapes of six bytes."""
    assert "Grüße 😀 こんにちは" in job(content="Grüße 😀 こんにちは").encode()


@given(st.dictionaries(st.sampled_from(sorted(QueuedJob.__dataclass_fields__)), JSON | PLAUSIBLE))
@example({"accepted_at": float("nan")})
@example({"accepted_at": float("inf")})
@example({"accepted_at": 10**400})
@example({"accepted_at": True})
@example({"accepted_at": -1})
def test_a_queued_job_that_is_taken_can_be_worked_on(changes: dict[str, Any]) -> None:
    """Whatever stands in a body: it is refused, or every field has its type, every id its form, the time is a time."""
    body = {**json.loads(job().encode()), **changes}
    try:
        taken = QueuedJob.decode(json.dumps(body))
    except InvalidRequestError:
        return
    assert ids.is_id(taken.job_id, "job")
    assert ids.is_id(taken.message_id, "msg")
    assert ids.is_id(taken.conversation_id, "cnv")
    assert isinstance(taken.content, str)
    assert isinstance(taken.user_id, str)
    assert all(
        text is None or isinstance(text, str)
        for text in (taken.session_id, taken.previous_message_id, taken.traceparent)
    )
    assert ids.iso(taken.accepted_at) >= "1970"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, "bad_version"),
        ({"v": None}, "bad_version"),
        ({"v": 0}, "bad_version"),
        ({"v": True}, "bad_version"),
        ({"v": "1"}, "bad_version"),
        ({"job_id": None}, "wrong_type"),
        ({"job_id": "job_1"}, "wrong_type"),
        ({"message_id": f"msg_{ids.new()}"}, "wrong_type"),
        ({"accepted_at": "now"}, "wrong_type"),
        ({"traceparent": 1}, "wrong_type"),
    ],
)
def test_a_foreign_queue_message_is_refused(change: dict[str, Any], code: str) -> None:
    """Another version or a wrong type is not ours, and the code says why."""
    body = {**json.loads(job().encode()), **change}
    with pytest.raises(InvalidRequestError) as refused:
        QueuedJob.decode(json.dumps(body))
    assert refused.value.code == code


@pytest.mark.parametrize("name", ["job_id", "conversation_id", "message_id", "user_id", "content", "accepted_at"])
def test_a_queue_message_that_lacks_a_field_is_refused(name: str) -> None:
    """No field that a worker needs is made up."""
    body = json.loads(job().encode())
    del body[name]
    with pytest.raises(InvalidRequestError):
        QueuedJob.decode(json.dumps(body))


# --- hello -----------------------------------------------------------------------------------------------------------


@given(TEXT.filter(bool), st.none() | TEXT, st.none() | st.tuples(st.integers(0, 2**63), st.integers(0, 2**63)))
def test_a_hello_comes_back_as_it_was_said(token: str, session_id: str | None, last: tuple[int, int] | None) -> None:
    """`decode` is the inverse of `encode`."""
    hello = Hello(token, session_id, f"{last[0]}-{last[1]}" if last else None)
    assert Hello.decode(hello.encode()) == hello


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"type": "hello", "token": "t"}', "bad_frame"),
        ("hello", "not_json"),
        ('{"token": "t"}', "no_hello"),
        ('{"type": ["hello"], "token": "t"}', "no_hello"),
        ('{"type": "hello"}', "no_token"),
        ('{"type": "hello", "token": ""}', "no_token"),
        ('{"type": "hello", "token": 1}', "wrong_type"),
        ('{"type": "hello", "token": "t", "user": "u"}', "unknown_field"),
        ('{"type": "hello", "token": "t", "last_event_id": "x"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "1"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "-1-0"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "1-0-0"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "٣-0"}', "bad_last_event_id"),
        ('{"type": "hello", "token": "t", "last_event_id": "1-+"}', "bad_last_event_id"),
    ],
)
def test_a_bad_hello_is_refused(raw: Any, code: str) -> None:
    """Each mistake has its code."""
    with pytest.raises(InvalidRequestError) as refused:
        Hello.decode(raw)
    assert refused.value.code == code


@given(st.integers(2**64 - 3, 2**64 + 3) | st.integers(0), st.integers(2**64 - 3, 2**64 + 3) | st.integers(0))
def test_an_event_id_is_one_that_redis_can_look_behind(millis: int, sequence: int) -> None:
    """Redis takes two numbers of 64 bits, and refuses to read after the greatest of all ids; so does the hello."""
    greatest = 2**64 - 1
    good = millis <= greatest and sequence <= greatest and (millis, sequence) != (greatest, greatest)
    raw = json.dumps({"type": "hello", "token": "t", "last_event_id": f"{millis}-{sequence}"})
    if good:
        assert Hello.decode(raw).last_event_id == f"{millis}-{sequence}"
    else:
        with pytest.raises(InvalidRequestError):
            Hello.decode(raw)


def test_a_hello_with_a_long_token_fits_its_frame() -> None:
    """The largest token, a session and an event id stay under the limit of a client's frame."""
    hello = Hello("t" * 8192, "ses_" + "s" * 66, f"{2**63}-{2**63}")
    assert len(hello.encode().encode()) < MAX_FRAME_BYTES


# --- events ----------------------------------------------------------------------------------------------------------

EVENT_FIELDS = {"type", "id", "job_id", "conversation_id", "attempt"}
EVENTS = st.builds(
    Event,
    st.sampled_from(sorted(EVENT_TYPES)),
    st.sampled_from([None, JOB]),
    st.sampled_from([None, CNV]),
    st.none() | st.integers(1, 20),
    st.dictionaries(TEXT.filter(lambda name: name not in EVENT_FIELDS), st.none() | st.integers() | TEXT, max_size=4),
    st.none() | st.from_regex(r"[0-9]{1,13}-[0-9]{1,3}", fullmatch=True),
)


@given(EVENTS)
def test_an_event_comes_back_as_it_was_sent(event: Event) -> None:
    """`decode` is the inverse of `encode`, from text and from bytes."""
    assert Event.decode(event.encode()) == event
    assert Event.decode(event.encode().encode()) == event


def test_an_event_of_the_log_bears_the_id_of_its_entry() -> None:
    """The id of the log's entry wins over what the text may say."""
    event = Event("delta", JOB, CNV, 1, {"text": "x"})
    assert Event.decode(event.encode(), event_id="5-1").id == "5-1"
    assert "id" not in json.loads(event.encode())


@given(st.dictionaries(st.sampled_from(sorted(EVENT_FIELDS)), JSON | PLAUSIBLE))
@example({"type": "done", "job_id": ["x"]})
@example({"type": "done", "attempt": "1"})
@example({"type": "done", "attempt": True})
@example({"type": "done", "id": "x"})
def test_an_event_that_is_taken_can_be_worked_on(value: dict[str, Any]) -> None:
    """What was decoded has the types it says, and an id that sorts."""
    try:
        event = Event.decode(json.dumps(value))
    except InvalidRequestError:
        return
    assert event.type in EVENT_TYPES
    assert event.job_id is None or isinstance(event.job_id, str)
    assert event.conversation_id is None or isinstance(event.conversation_id, str)
    assert event.attempt is None or type(event.attempt) is int
    assert event.id is None or event_order(event.id) >= (0, 0)


def test_an_event_of_an_unknown_type_is_an_error() -> None:
    """A type that is not in the protocol is refused, and quoted only in part."""
    with pytest.raises(InvalidRequestError) as refused:
        Event.decode(json.dumps({"type": "x" * 1000}))
    assert refused.value.code == "bad_event"
    assert len(refused.value.message) < 100


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_a_job_ends_with_a_terminal_event(kind: str) -> None:
    """`done`, `error` and `cancelled` end a job; an error of the connection itself ends none."""
    assert Event(kind, JOB).terminal == (kind in {"done", "error", "cancelled"})
    assert not Event(kind).terminal


@pytest.mark.parametrize("character", ["a", "é", "😀", '"', "\n", "\x00"])
def test_the_largest_delta_fits_a_frame_of_api_gateway(character: str) -> None:
    """A delta stays under 32 KB, however its characters are written in JSON."""
    event = Event("delta", JOB, CNV, 20, {"text": character * MAX_DELTA_CHARACTERS}, f"{2**63}-{2**63}")
    assert len(event.encode().encode()) <= API_GATEWAY_FRAME


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))))
def test_events_sort_by_number(pairs: list[tuple[int, int]]) -> None:
    """9-0 comes before 10-0: ids are numbers, not text."""
    made = [f"{millis}-{sequence}" for millis, sequence in pairs]
    assert [event_order(event_id) for event_id in sorted(made, key=event_order)] == sorted(pairs)


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_terminal_statuses_and_events_are_known() -> None:
    """A job that ended does so in one of four ways, told by one of three events."""
    ended: tuple[JobStatus, ...] = ("done", "failed", "cancelled", "dead_lettered")
    assert set(ended) == TERMINAL_STATUSES
    assert TERMINAL_EVENTS < EVENT_TYPES
    under_way: tuple[JobStatus, ...] = ("queued", "running")
    for status in (*ended, *under_way):
        assert Job(JOB, CNV, MSG, "alice", status, "now").ended == (status in ended)


def test_a_job_is_shown_without_its_user_and_session() -> None:
    """The owner knows who they are; a session id is a capability and is not repeated."""
    shown = Job(JOB, CNV, MSG, "alice", "queued", "now", session_id="ses_x").to_json()
    assert "alice" not in json.dumps(shown)
    assert "ses_x" not in json.dumps(shown)
    assert shown["job_id"] == JOB
    assert shown["status"] == "queued"


def test_a_page_names_its_list() -> None:
    """A page is its items under their name, and the cursor, null at the end."""
    conversation = Conversation(CNV, "title", "then", "now")
    assert Page((conversation,), None).to_json("conversations") == {
        "conversations": [
            {"conversation_id": CNV, "title": "title", "created_at": "then", "updated_at": "now"},
        ],
        "next_cursor": None,
    }
    message = Message(MSG, CNV, "user", "hi", "now", JOB)
    assert message.to_json()["content"] == "hi"
    assert Accepted(JOB, CNV, MSG).to_json() == {"job_id": JOB, "conversation_id": CNV, "message_id": MSG}
