"""The reader of server-sent events, held against the standard.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.worker.providers.sse import objects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def read(*chunks: bytes) -> list[dict[str, Any]]:
    """Return the objects of a stream that comes in these chunks."""

    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return [value async for value in objects(stream())]


async def test_each_event_is_one_object() -> None:
    """The data of an event is JSON; the space after the colon is not part of it, and need not be there."""
    assert await read(b'data: {"a": 1}\n\ndata:{"b": [2]}\n\n') == [{"a": 1}, {"b": [2]}]
    assert await read() == []
    assert await read(b"") == []


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(b"\n", id="LF"),
        pytest.param(b"\r\n", id="CRLF"),
        pytest.param(
            b"\r", id="CR", marks=pytest.mark.xfail(strict=True, reason="lines that end with CR alone are not seen")
        ),
    ],
)
async def test_a_line_ends_with_lf_crlf_or_cr(end: bytes) -> None:
    """All three of the standard, and the blank line that ends an event likewise."""
    lines = (b'data: {"a": 1}', b"", b"data: {", b'data: "b": 2}', b"", b"data: [DONE]", b"", b"")
    assert await read(end.join(lines)) == [{"a": 1}, {"b": 2}]


async def test_comments_and_other_fields_are_passed_over() -> None:
    """Comments keep a connection awake; `event`, `id`, `retry` and whatever comes later say nothing that is needed here."""
    assert await read(
        b": awake\n\n:\n\nevent: message_start\nid: 7\nretry: 10\n: between\nanything: else\nnothing\n"
        b'data: {"a": 1}\n\nevent: ping\n\n\n\ndata: {"b": 2}\n\n'
    ) == [{"a": 1}, {"b": 2}]


async def test_a_field_whose_name_only_begins_with_data_is_another() -> None:
    """`database:` and ` data:` are no data."""
    assert await read(b'database: {"a": 1}\n\n data: {"b": 2}\n\ndata: {"c": 3}\n\n') == [{"c": 3}]


async def test_the_data_of_an_event_may_have_several_lines() -> None:
    """They are joined by line feeds."""
    assert await read(b'data: {"a":\n: between\ndata: 1,\nevent: x\ndata:  "b": 2}\n\n') == [{"a": 1, "b": 2}]


@pytest.mark.xfail(strict=True, reason="a byte order mark hides the first line, and so the first event is lost")
async def test_a_byte_order_mark_at_the_beginning_is_passed_over() -> None:
    """One that a server puts there costs no event."""
    assert await read(b'\xef\xbb\xbfdata: {"a": 1}\n\ndata: {"b": 2}\n\n') == [{"a": 1}, {"b": 2}]


async def test_nothing_is_read_after_done() -> None:
    """OpenAI ends a stream with `[DONE]`; what may follow it is none of ours."""
    assert await read(b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: {"b": 2}\n\n') == [{"a": 1}]
    assert await read(b'data: {"a": 1}\n\ndata:[DONE] \r\n\r\ndata: no JSON\n\n') == [{"a": 1}]


async def test_an_event_that_no_blank_line_ends_is_none() -> None:
    """The standard: what is pending at the end of the stream is discarded, for it may be half of an event."""
    assert await read(b'data: {"a": 1}\n\ndata: {"b": 2}\n') == [{"a": 1}]
    assert await read(b'data: {"a": 1}\n\ndata: {"b": 2}') == [{"a": 1}]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"null", id="null"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"[1]", id="array"),
        pytest.param(b'{"a": ', id="half"),
        pytest.param(b'{"a": "\xff"}', id="not UTF-8"),
        pytest.param(b"<html>", id="a page"),
        pytest.param(
            b'{"a": ' + b"[" * 100_000,
            id="deep",
            marks=pytest.mark.xfail(strict=True, reason="a RecursionError comes instead", raises=RecursionError),
        ),
    ],
)
async def test_data_that_is_no_object_is_an_error(data: bytes) -> None:
    """A `ValueError`, wherever in the stream it stands."""
    with pytest.raises(ValueError):  # noqa: PT011 - the JSON decoder's, or the reader's own
        await read(b'data: {"a": 1}\n\n', b"data: " + data + b"\n\n")


Values = st.dictionaries(st.text(max_size=4), st.text(max_size=8) | st.integers() | st.none(), max_size=3)


@given(values=st.lists(Values, max_size=4), end=st.sampled_from([b"\n", b"\r\n"]), data=st.data())
async def test_the_bytes_may_be_cut_anywhere(values: list[dict[str, Any]], end: bytes, data: st.DataObject) -> None:
    """However a stream is cut, also inside a character or between CR and LF, the same objects come."""
    stream = b"".join(
        b"event: x" + end + b"data: " + json.dumps(value, ensure_ascii=False).encode() + end + b": c" + end + end
        for value in values
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    chunks = [stream[begin:end_] for begin, end_ in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert await read(*chunks) == values
    assert await read(*[stream[place : place + 1] for place in range(len(stream))]) == values
