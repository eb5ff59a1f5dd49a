"""The reader of server-sent events, held against the standard.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.worker.providers.sse import EventReader


def read(*chunks: bytes) -> list[dict[str, Any]]:
    """Return the objects of a stream that comes in these chunks."""
    reader = EventReader()
    return [*(value for chunk in chunks for value in reader.feed(chunk)), *reader.end()]


def test_each_event_is_one_object() -> None:
    """The data of an event is JSON; the space after the colon is not part of it, and need not be there."""
    assert read(b'data: {"a": 1}\n\ndata:{"b": [2]}\n\n') == [{"a": 1}, {"b": [2]}]
    assert read() == []
    assert read(b"") == []


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(b"\n", id="LF"),
        pytest.param(b"\r\n", id="CRLF"),
        pytest.param(b"\r", id="CR"),
    ],
)
def test_a_line_ends_with_lf_crlf_or_cr(end: bytes) -> None:
    """All three of the standard, and the blank line that ends an event likewise."""
    lines = (b'data: {"a": 1}', b"", b"data: {", b'data: "b": 2}', b"", b"data: [DONE]", b"", b"")
    assert read(end.join(lines)) == [{"a": 1}, {"b": 2}]


def test_comments_and_other_fields_are_passed_over() -> None:
    """Comments keep a connection awake; `event`, `id`, `retry` and whatever comes later say nothing that is needed here."""
    assert read(
        b": awake\n\n:\n\nevent: message_start\nid: 7\nretry: 10\n: between\nanything: else\nnothing\n"
        b'data: {"a": 1}\n\nevent: ping\n\n\n\ndata: {"b": 2}\n\n'
    ) == [{"a": 1}, {"b": 2}]


def test_a_field_whose_name_only_begins_with_data_is_another() -> None:
    """`database:` and ` data:` are no data."""
    assert read(b'database: {"a": 1}\n\n data: {"b": 2}\n\ndata: {"c": 3}\n\n') == [{"c": 3}]


def test_the_data_of_an_event_may_have_several_lines() -> None:
    """They are joined by line feeds."""
    assert read(b'data: {"a":\n: between\ndata: 1,\nevent: x\ndata:  "b": 2}\n\n') == [{"a": 1, "b": 2}]


def test_events_may_lack_the_blank_line_between_them() -> None:
    """Data that is whole is an event when other data follows it, at once; half of an object goes on."""
    assert read(b'data: {"a": 1}\ndata: {"b": 2}\ndata: [DONE]\n\n') == [{"a": 1}, {"b": 2}]
    reader = EventReader()
    assert reader.feed(b'data: {"a": 1}\ndata: {\n') == [{"a": 1}]
    assert reader.feed(b'data: "b": 2}\n\n') == [{"b": 2}]


def test_a_byte_order_mark_at_the_beginning_is_passed_over() -> None:
    """One that a server puts there costs no event."""
    assert read(b'\xef\xbb\xbfdata: {"a": 1}\n\ndata: {"b": 2}\n\n') == [{"a": 1}, {"b": 2}]


def test_nothing_is_read_after_done() -> None:
    """OpenAI ends a stream with `[DONE]`; what may follow it is none of ours."""
    assert read(b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: {"b": 2}\n\n') == [{"a": 1}]
    assert read(b'data: {"a": 1}\n\ndata:[DONE] \r\n\r\ndata: no JSON\n\n') == [{"a": 1}]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_a_last_event_that_no_blank_line_ends_counts_where_it_is_whole(end: bytes) -> None:
    """The standard drops it, for it may be half of an event; half an object is none, and servers forget the line."""
    assert read(b'data: {"a": 1}\n\ndata: {"b": 2}' + end) == [{"a": 1}, {"b": 2}]
    assert read(b'data: {"a": 1}\n\ndata: {"b": ' + end) == [{"a": 1}]
    assert read(b'data: {"a": 1}\n\ndata: {\ndata: "b": ' + end) == [{"a": 1}]
    assert read(b'data: {"a": 1}\n\ndat' + end) == [{"a": 1}]


def test_an_event_without_data_is_none() -> None:
    """The standard: where the data is empty, nothing is dispatched. Servers keep a connection awake by it."""
    assert read(b'data:\n\ndata: {"a": 1}\n\ndata: \n\ndata\n\nevent: ping\n\ndata: {"b": 2}\n\n') == [
        {"a": 1},
        {"b": 2},
    ]


def test_whether_the_stream_said_that_it_is_done_is_known() -> None:
    """`[DONE]` is an end also where no blank line follows it; a stream of comments has not begun."""
    for end in (b"\n\n", b"\n", b""):
        reader = EventReader()
        reader.feed(b": awake\n\n")
        assert (reader.begun, reader.done) == (False, False)
        reader.feed(b"data: [DONE]" + end)
        reader.end()
        assert (reader.begun, reader.done) == (True, True)


@pytest.mark.parametrize("line", [b"data: ", b": ", b"\ndata: "])
def test_what_is_held_has_a_bound(line: bytes) -> None:
    """I7: a line or an event that never ends is an error, not a worker without memory; many events are none."""
    reader = EventReader()
    with pytest.raises(ValueError, match="more than"):
        _ = [reader.feed(line + b"x" * 16_384) for _ in range(1000)]
    many = EventReader()
    assert sum(len(many.feed(b'data: {"a": "' + b"x" * 16_000 + b'"}\n\n')) for _ in range(1000)) == 1000


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"null", id="null"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"[1]", id="array"),
        pytest.param(b'{"a": ', id="half"),
        pytest.param(b"<html>", id="a page"),
        pytest.param(b'{"a": ' + b"[" * 100_000, id="deep"),
    ],
)
def test_data_that_is_no_object_is_an_error(data: bytes) -> None:
    """A `ValueError`, wherever in the stream it stands."""
    with pytest.raises(ValueError):  # noqa: PT011 - the JSON decoder's, or the reader's own
        read(b'data: {"a": 1}\n\n', b"data: " + data + b"\n\n")


Values = st.dictionaries(st.text(max_size=4), st.text(max_size=8) | st.integers() | st.none(), max_size=3)


@given(values=st.lists(Values, max_size=4), end=st.sampled_from([b"\n", b"\r\n", b"\r"]), data=st.data())
def test_the_bytes_may_be_cut_anywhere(values: list[dict[str, Any]], end: bytes, data: st.DataObject) -> None:
    """However a stream is cut, also inside a character or between CR and LF, the same objects come."""
    stream = b"".join(
        b"event: x" + end + b"data: " + json.dumps(value, ensure_ascii=False).encode() + end + b": c" + end + end
        for value in values
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    chunks = [stream[begin:end_] for begin, end_ in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*chunks) == values
    assert read(*[stream[place : place + 1] for place in range(len(stream))]) == values
