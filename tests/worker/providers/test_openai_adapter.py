"""OpenAI's adapter, through its SDK and a real HTTP exchange with a server in the test's own process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudia.worker.providers.base import ChatMessage, FailureKind, Piece, ToolCall, Usage
from cloudia.worker.providers.openai import OpenAIProvider
from tests.patience import HANGS
from tests.worker.providers.calls import (
    BROKEN,
    HEADERS,
    RETRY_AFTER,
    STATUSES,
    WEATHER,
    ask,
    attempt,
    check_broken,
    failure,
    request,
)
from tests.worker.providers.server import Server, answer, events, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DONE = b"data: [DONE]\n\n"


def said(content: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a chunk with text, or with what else a delta may have."""
    delta = {**({} if content is None else {"content": content}), **fields}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def called(index: int, arguments: str, **fields: Any) -> dict[str, Any]:
    """Return a chunk with a part of a tool call."""
    function = {"arguments": arguments, **({"name": fields.pop("name")} if "name" in fields else {})}
    return said(tool_calls=[{"index": index, "function": function, **fields}])


def finished(reason: str = "stop") -> dict[str, Any]:
    """Return the chunk that says why an answer ended."""
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def used(taken: int, given_: int) -> dict[str, Any]:
    """Return the chunk with the usage."""
    return {"choices": [], "usage": {"prompt_tokens": taken, "completion_tokens": given_}}


def whole(*chunks: dict[str, Any]) -> list[bytes]:
    """Return an answer with these chunks and its end."""
    return answer(events(*chunks), DONE)


HELLO = (said("", role="assistant"), said("Hel"), said("lo, wörld"), finished(), used(9, 4))
HELLO_PIECES: list[Piece] = ["Hel", "lo, wörld", Usage(9, 4)]


def make(server: Server, **timeouts: float) -> OpenAIProvider:
    """Return the adapter."""
    return OpenAIProvider(api_key="key-1", base_url=server.url, timeout=httpx2.Timeout(10, **timeouts))


@pytest.fixture
async def provider(server: Server) -> AsyncIterator[OpenAIProvider]:
    """The adapter, talking to the test's server."""
    provider = make(server)
    yield provider
    await provider.aclose()


# --- the request -----------------------------------------------------------------------------------------------------


async def test_a_request_says_all_that_openai_has_to_know(provider: OpenAIProvider, server: Server) -> None:
    """Path, key, the worker's headers, model, limit, streaming with usage; no system message and no tools where none are."""
    server.answer = whole(*HELLO)
    await ask(provider)
    (sent,) = server.requests
    assert sent.line == "POST /chat/completions HTTP/1.1"
    assert sent.headers["authorization"] == "Bearer key-1"
    assert HEADERS.items() <= sent.headers.items()
    assert sent.body == {
        "model": "model-1",
        "messages": [{"role": "user", "content": "well?"}],
        "max_tokens": 77,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_messages_and_tools_are_in_openais_form(provider: OpenAIProvider, server: Server) -> None:
    """The system prompt comes first; calls of tools and their results keep their ids; a tool is a function."""
    server.answer = whole(*HELLO)
    call = ToolCall("call_1", "weather", '{"city": "Oslo"}')
    await ask(
        provider,
        request(
            ChatMessage("user", "weather?"),
            ChatMessage("assistant", "I look.", tool_calls=(call,)),
            ChatMessage("tool", "sunny", tool_call_id="call_1"),
            system="Be brief.",
            tools=(WEATHER,),
        ),
    )
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert server.requests[0].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "call_1"},
    ]
    assert server.requests[0].body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells the weather.",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        }
    ]


# --- the answer ------------------------------------------------------------------------------------------------------


async def test_text_comes_as_it_is_said_and_the_usage_once_it_is_known(
    provider: OpenAIProvider, server: Server
) -> None:
    """Empty text is no piece."""
    server.answer = whole(*HELLO)
    assert await ask(provider) == HELLO_PIECES


async def test_text_is_not_held_back(provider: OpenAIProvider, server: Server) -> None:
    """A piece is there as soon as its event is, also while the server goes on."""
    server.answer = answer(events(said("Hel")))[:-1]
    async with asyncio.timeout(HANGS):
        assert await anext(provider.stream(request())) == "Hel"


async def test_calls_of_tools_come_in_parts_and_are_yielded_whole(provider: OpenAIProvider, server: Server) -> None:
    """Two calls whose parts come mixed; the first part has the id and the name."""
    server.answer = whole(
        said("I look."),
        called(0, "", id="call_a", name="weather"),
        called(1, '{"ci', id="call_b", name="time"),
        called(0, '{"city": '),
        called(1, 'ty": "Rio"}'),
        called(0, '"Oslo"}'),
        finished("tool_calls"),
        used(9, 4),
    )
    pieces = await ask(provider)
    assert [piece for piece in pieces if isinstance(piece, ToolCall)] == [
        ToolCall("call_a", "weather", '{"city": "Oslo"}'),
        ToolCall("call_b", "time", '{"city": "Rio"}'),
    ]
    assert pieces[0] == "I look."
    assert Usage(9, 4) in pieces


async def test_the_usage_is_the_last_piece(provider: OpenAIProvider, server: Server) -> None:
    """As `stream` says: text, calls of tools, then the usage."""
    server.answer = whole(called(0, "{}", id="call_a", name="weather"), finished("tool_calls"), used(9, 4))
    assert await ask(provider) == [ToolCall("call_a", "weather", "{}"), Usage(9, 4)]


async def test_a_usage_that_grows_with_the_stream_is_told_once(provider: OpenAIProvider, server: Server) -> None:
    """Some that speak like OpenAI tell with each chunk what was used so far: the last one is the usage."""
    server.answer = whole({**said("Hel"), **used(9, 1), "choices": said("Hel")["choices"]}, finished(), used(9, 4))
    assert await ask(provider) == ["Hel", Usage(9, 4)]


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
async def test_an_answer_that_was_finished_is_whole_without_its_usage(
    provider: OpenAIProvider, server: Server, reason: str
) -> None:
    """The finish is what counts; neither the usage nor `[DONE]` is needed."""
    server.answer = answer(events(said("Hello"), finished(reason)))
    assert await ask(provider) == ["Hello"]


async def test_an_answer_that_was_not_finished_broke_off(provider: OpenAIProvider, server: Server) -> None:
    """Also where the stream ended as it should: what came is told, then that it is not all, and no half of a call."""
    server.answer = whole(said("Hel"), called(0, '{"ci', id="call_a", name="weather"), used(9, 4))
    pieces, error = await failure(provider)
    assert pieces == ["Hel", Usage(9, 4)]
    assert error.kind == "unavailable"


async def test_an_error_that_is_null_is_none(provider: OpenAIProvider, server: Server) -> None:
    """Some that speak like OpenAI have the field in each chunk."""
    server.answer = whole({**said("Hello"), "error": None}, finished())
    assert await ask(provider) == ["Hello"]


@pytest.mark.parametrize("content", [5, ["Hel", "lo"], {"text": "Hello"}])
async def test_text_that_is_no_text_makes_no_sense(provider: OpenAIProvider, server: Server, content: Any) -> None:
    """A delta whose content is anything else is a failure of the provider's."""
    server.answer = whole(said(content), finished())
    pieces, error = await failure(provider)
    assert (pieces, error.kind) == ([], "unavailable")


async def test_a_connection_serves_one_answer_after_another(provider: OpenAIProvider, server: Server) -> None:
    """Three answers are one connection, also where HTTP's own end comes a moment after `[DONE]`."""
    server.answer = whole(*HELLO)
    for _ in range(3):
        assert await ask(provider) == HELLO_PIECES
    assert server.connections == 1


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_each_status_is_its_kind_of_failure(
    provider: OpenAIProvider, server: Server, status: int, kind: FailureKind
) -> None:
    """One request, whatever it is; the message names the status, and quotes nothing of the provider's."""
    server.answer = answer(
        b'{"error": {"message": "you said: well?", "code": "x"}}', status=status, content_type="application/json"
    )
    _, error = await failure(provider)
    assert (error.kind, error.status, error.retry_after) == (kind, status, None)
    assert str(error) == f"openai answered {status}"
    assert len(server.requests) == 1


@pytest.mark.parametrize(("value", "seconds"), RETRY_AFTER)
async def test_the_pause_that_is_asked_for_is_told(
    provider: OpenAIProvider, server: Server, value: str, seconds: float | None
) -> None:
    """`Retry-After` as seconds or as a date, at most ten minutes; what is neither is none."""
    server.answer = answer(b"busy", status=429, headers={"retry-after": value})
    assert (await failure(provider))[1].retry_after == seconds


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_is_none_is_a_failure(provider: OpenAIProvider, server: Server, name: str) -> None:
    """Connections that break, answers that are no HTTP, no stream or no JSON: unavailable, after one request."""
    await check_broken(provider, server, name)


async def test_nobody_listens() -> None:
    """A server that is not there is unavailable."""
    async with serving() as gone:
        provider = make(gone)
    _, error = await failure(provider)
    await provider.aclose()
    assert error.kind == "unavailable"


@pytest.mark.parametrize("begun", [False, True])
async def test_a_server_that_falls_silent_is_unavailable(server: Server, *, begun: bool) -> None:
    """The connection's own deadline ends the wait, before the first event and between two."""
    server.answer = answer(events(said("Hel")))[:-1] if begun else ()
    provider = make(server, read=0.1)
    pieces, error = await failure(provider)
    await provider.aclose()
    assert pieces == (["Hel"] if begun else [])
    assert error.kind == "unavailable"


async def test_an_error_in_mid_stream_is_a_failure(provider: OpenAIProvider, server: Server) -> None:
    """What came before it was told already."""
    server.answer = whole(said("Hel"), {"error": {"message": "you said: well?", "type": "server_error"}})
    pieces, error = await failure(provider)
    assert (pieces, error.kind) == (["Hel"], "unavailable")
    assert "well" not in str(error)


async def test_closing_the_iterator_closes_the_connection(provider: OpenAIProvider, server: Server) -> None:
    """The provider learns that nobody listens any more, in the middle of an answer."""
    server.answer = answer(events(said("Hel")))[:-1]
    pieces = provider.stream(request())
    assert await anext(pieces) == "Hel"
    assert not server.left.is_set()
    await pieces.aclose()
    async with asyncio.timeout(HANGS):
        await server.left.wait()


STREAM = whole(*HELLO[:-2], called(0, '{"a": "ü"}', id="call_a", name="weather"), finished(), used(9, 4))
STREAM_PIECES: list[Piece] = ["Hel", "lo, wörld", ToolCall("call_a", "weather", '{"a": "ü"}'), Usage(9, 4)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_an_answer_may_come_in_any_parts(provider: OpenAIProvider, server: Server, data: st.DataObject) -> None:
    """However its bytes are cut on their way, also inside a character or a chunk's size, the pieces are the same."""
    raw = b"".join(STREAM)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=12)))
    server.answer = [raw[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert await ask(provider) == STREAM_PIECES


@pytest.mark.parametrize("framed", [True, False])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(b"".join(STREAM))), reset=st.booleans())
async def test_an_answer_that_breaks_off_is_never_a_wrong_one(
    server: Server, place: int, *, reset: bool, framed: bool
) -> None:
    """Wherever the connection ends: the same pieces, as far as they came, and a failure where the finish did not come.

    Also where HTTP itself cannot tell that something is missing, because the body goes on until the connection ends.
    """
    raw = b"".join(STREAM)
    if not framed:
        raw = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + b"".join(
            part.split(b"\r\n", 1)[1][:-2] for part in STREAM[1:-1]
        )
    server.answer, server.end = [raw[:place]], "reset" if reset else "close"
    provider = make(server)
    pieces, error = await attempt(provider)
    await provider.aclose()
    if error:
        assert error.kind == "unavailable"
        assert [piece for piece in pieces if piece != Usage(9, 4)] in (
            STREAM_PIECES[:0],
            STREAM_PIECES[:1],
            STREAM_PIECES[:2],
        )
    else:
        assert [piece for piece in pieces if not isinstance(piece, Usage)] == [
            piece for piece in STREAM_PIECES if not isinstance(piece, Usage)
        ]
