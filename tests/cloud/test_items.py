"""DynamoDB items: what is written is what is read, and a cursor is ours or refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloudia.cloud.items import decode_cursor, encode_cursor, from_item, to_item, values
from cloudia.errors import InvalidRequestError
from tests.support import Cloud

NUMBERS = st.integers(-(10**15), 10**15) | st.floats(-1e15, 1e15).filter(lambda number: not 0 < abs(number) < 1e-100)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(TEXT.filter(bool), VALUES, max_size=5)


@given(FIELDS)
def test_an_item_comes_back_as_it_was(fields: dict[str, Any]) -> None:
    """`from_item` is the inverse of `to_item`; a field that is None is left out, a nested None stays."""
    assert from_item(to_item(fields)) == {name: value for name, value in fields.items() if value is not None}


@given(NUMBERS)
def test_whole_numbers_come_back_as_integers(number: float) -> None:
    """DynamoDB has one kind of number; a token count must not come back as 3.0."""
    back = from_item(to_item({"n": number}))["n"]
    assert back == number
    assert isinstance(back, int) == (number == int(number))


@given(st.booleans())
def test_true_is_not_a_number(flag: bool) -> None:
    """A boolean stays one."""
    assert from_item(to_item({"flag": flag}))["flag"] is flag
    assert values(flag=flag) == {":flag": {"BOOL": flag}}


@given(FIELDS)
def test_placeholders_are_named_with_a_colon(fields: dict[str, Any]) -> None:
    """`values` writes every placeholder, a None as NULL."""
    assert set(values(**fields)) == {f":{name}" for name in fields}
    assert values(x=None) == {":x": {"NULL": True}}
    assert values(now=1.5) == {":now": {"N": "1.5"}}


def test_an_item_survives_the_real_table(cloud: Cloud) -> None:
    """Floats, emoji, empty text, nested None and 30 KB come back from DynamoDB as they were written."""
    fields = {
        "conversation_id": "cnv_x",
        "message_id": "msg_x",
        "number": 1_700_000_000.123456,
        "tiny": 1e-30,
        "whole": 3.0,
        "empty": "",
        "emoji": "👩‍👩‍👧‍👦 \x00 \uffff",
        "nested": {"none": None, "list": [1, 2.5, None, {"deep": True}], "map": {}},
        "long": "é" * 15_000,
        "absent": None,
    }
    table = cloud.stack.messages.name
    cloud.aws.dynamodb.put_item(TableName=table, Item=to_item(fields))
    key = {"conversation_id": "cnv_x", "message_id": "msg_x"}
    item = cloud.aws.dynamodb.get_item(TableName=table, Key=to_item(key))["Item"]
    del fields["absent"]
    assert from_item(item) == fields


# --- cursors ---------------------------------------------------------------------------------------------------------

KEYS = st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40), max_size=3)


@given(KEYS)
def test_a_cursor_comes_back_as_its_keys(keys: list[str]) -> None:
    """`decode_cursor` is the inverse of `encode_cursor`, and a cursor needs no escaping in a URL."""
    cursor = encode_cursor(*keys)
    assert decode_cursor(cursor, len(keys)) == keys
    assert set(cursor) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def packed(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()) | VALUES.map(packed))
@example("=")
@example("A")
@example("é")
@example("W" * 100_000)
@example(base64.urlsafe_b64encode(b"[" * 300).decode())
@example(packed(["\ud800"]))
@example(packed(["é"]))
@example(packed([""]))
@example(packed([1]))
@example(packed({"a": 1}))
@example(packed("a"))
def test_garbage_is_no_cursor(cursor: str) -> None:
    """Whatever a client sends: keys that DynamoDB takes, or `InvalidRequestError` with the code `bad_cursor`."""
    for count in (1, 2):
        try:
            keys = decode_cursor(cursor, count)
        except InvalidRequestError as error:
            assert error.code == "bad_cursor"  # noqa: PT017 - either is right
        else:
            assert len(keys) == count
            assert all(key and key.isascii() for key in keys)


def test_a_cursor_of_another_list_is_refused() -> None:
    """A list with two keys does not take a cursor of one, and the other way around."""
    with pytest.raises(InvalidRequestError):
        decode_cursor(encode_cursor("a"), 2)
    with pytest.raises(InvalidRequestError):
        decode_cursor(encode_cursor("a", "b"), 1)
