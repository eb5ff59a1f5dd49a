"""Anthropic's adapter, through its SDK and a real HTTP exchange with a server in the test's own process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudia.worker.providers.anthropic import AnthropicProvider
from cloudia.worker.providers.base import ChatMessage, FailureKind, Piece, ToolCall, Usage
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
    first_text,
    request,
)
from tests.worker.providers.server import Server, answer, events, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def began(taken: int = 9) -> dict[str, Any]:
    """Return the event that begins an answer."""
    return {"type": "message_start", "message": {"usage": {"input_tokens": taken, "output_tokens": 1}}}


def block(index: int, kind: str = "text", **fields: Any) -> dict[str, Any]:
    """Return the event that begins a block."""
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def said(text: Any, index: int = 0) -> dict[str, Any]:
    """Return an event with text."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def called(index: int, part: str) -> dict[str, Any]:
    """Return an event with a part of a call's arguments."""
    delta = {"type": "input_json_delta", "partial_json": part}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def used(given_: int, reason: str | None = "end_turn") -> dict[str, Any]:
    """Return the event with the usage so far."""
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": given_}}


STOP = {"type": "message_stop"}
PING = {"type": "ping"}

HELLO = (
    began(),
    block(0, text=""),
    PING,
    said("Hel"),
    said("lo, wörld"),
    {"type": "content_block_stop", "index": 0},
    used(4),
    STOP,
)
HELLO_PIECES: list[Piece] = ["Hel", "lo, wörld", Usage(9, 4)]


def make(server: Server, **timeouts: float) -> AnthropicProvider:
    """Return the adapter."""
    return AnthropicProvider(api_key="key-1", base_url=server.url, timeout=httpx2.Timeout(10, **timeouts))


@pytest.fixture
async def provider(server: Server) -> AsyncIterator[AnthropicProvider]:
    """The adapter, talking to the test's server."""
    provider = make(server)
    yield provider
    await provider.aclose()


# --- the request -----------------------------------------------------------------------------------------------------


async def test_a_request_says_all_that_anthropic_has_to_know(provider: AnthropicProvider, server: Server) -> None:
    """Path, key, version, the worker's headers, model, limit, streaming; no system prompt and no tools where none are."""
    server.answer = answer(events(*HELLO))
    await ask(provider)
    (sent,) = server.requests
    assert sent.line == "POST /v1/messages HTTP/1.1"
    assert any("key-1" in sent.headers.get(name, "") for name in ("authorization", "x-api-key"))  # The SDK's choice.
    assert "anthropic-version" in sent.headers
    assert HEADERS.items() <= sent.headers.items()
    assert sent.body == {
        "model": "model-1",
        "messages": [{"role": "user", "content": "well?"}],
        "max_tokens": 77,
        "stream": True,
    }


CALLS = (ToolCall("call_1", "weather", '{"city": "Oslo"}'), ToolCall("call_2", "weather", ""))


async def test_messages_and_tools_are_in_anthropics_form(provider: AnthropicProvider, server: Server) -> None:
    """The system prompt is apart; calls are blocks with objects; the results of one round are one message of the user's."""
    server.answer = answer(events(*HELLO))
    await ask(
        provider,
        request(
            ChatMessage("user", "weather?"),
            ChatMessage("assistant", "I look.", tool_calls=CALLS),
            ChatMessage("tool", "sunny", tool_call_id="call_1"),
            ChatMessage("tool", "rain", tool_call_id="call_2"),
            ChatMessage("assistant", "", tool_calls=CALLS[:1]),
            ChatMessage("tool", "snow", tool_call_id="call_1"),
            system="Be brief.",
            tools=(WEATHER,),
        ),
    )
    body = server.requests[0].body
    first = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}}
    second = {"type": "tool_use", "id": "call_2", "name": "weather", "input": {}}
    results = [
        {"type": "tool_result", "tool_use_id": f"call_{number}", "content": content}
        for number, content in ((1, "sunny"), (2, "rain"), (1, "snow"))
    ]
    assert body["system"] == "Be brief."
    assert body["messages"] == [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, first, second]},
        {"role": "user", "content": results[:2]},
        {"role": "assistant", "content": [first]},
        {"role": "user", "content": results[2:]},
    ]
    assert body["tools"] == [
        {
            "name": "weather",
            "description": "Tells the weather.",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
    ]


@pytest.mark.parametrize("arguments", ['{"city": "Os', "[1]", "null"])
async def test_arguments_that_are_no_object_do_not_end_the_conversation(
    provider: AnthropicProvider, server: Server, arguments: str
) -> None:
    """The LLM wrote them, and its tool's result says that they were wrong: it is asked on, with an object for them."""
    server.answer = answer(events(*HELLO))
    call = ToolCall("call_1", "weather", arguments)
    pieces, error = await attempt(
        provider,
        request(
            ChatMessage("user", "weather?"),
            ChatMessage("assistant", "", tool_calls=(call,)),
            ChatMessage("tool", "error: the arguments are not JSON", tool_call_id="call_1"),
        ),
    )
    assert (pieces, error) == (HELLO_PIECES, None)
    assert isinstance(server.requests[0].body["messages"][1]["content"][0]["input"], dict)


async def test_white_space_before_a_call_is_no_text(provider: AnthropicProvider, server: Server) -> None:
    """An LLM may say a line break before it calls a tool."""
    server.answer = answer(events(*HELLO))
    await ask(
        provider,
        request(
            ChatMessage("user", "weather?"),
            ChatMessage("assistant", "\n\n", tool_calls=CALLS[:1]),
            ChatMessage("tool", "sunny", tool_call_id="call_1"),
        ),
    )
    assert [part["type"] for part in server.requests[0].body["messages"][1]["content"]] == ["tool_use"]


# --- the answer ------------------------------------------------------------------------------------------------------


async def test_text_comes_as_it_is_said_and_the_usage_once_it_is_known(
    provider: AnthropicProvider, server: Server
) -> None:
    """What was taken is known at the beginning, what was given at the end. Pings and other events bring nothing."""
    server.answer = answer(events(*HELLO[:3], {"type": "new_in_2030", "anything": 1}, said(""), *HELLO[3:]))
    assert await ask(provider) == HELLO_PIECES


async def test_text_is_not_held_back(provider: AnthropicProvider, server: Server) -> None:
    """A piece is there as soon as its event is, also while the server goes on."""
    server.answer = answer(events(began(), said("Hel")))[:-1]
    async with asyncio.timeout(HANGS):
        assert await first_text(provider.stream(request())) == "Hel"


async def test_thinking_is_no_text(provider: AnthropicProvider, server: Server) -> None:
    """What a model thinks, and the signature of it, are not its answer."""
    thinking = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": kind, field: "hm"}}
        for kind, field in (("thinking_delta", "thinking"), ("signature_delta", "signature"))
    ]
    server.answer = answer(events(began(), block(0, "thinking", thinking=""), *thinking, *HELLO[3:]))
    assert await ask(provider) == HELLO_PIECES


async def test_calls_of_tools_come_in_parts_and_are_yielded_whole(provider: AnthropicProvider, server: Server) -> None:
    """Two calls, one of which has no arguments; the beginning of a block has the id and the name."""
    server.answer = answer(
        events(
            began(),
            block(0, text=""),
            said("I look."),
            block(1, "tool_use", id="call_a", name="weather", input={}),
            called(1, ""),
            called(1, '{"city": '),
            called(1, '"Oslo"}'),
            block(2, "tool_use", id="call_b", name="time", input={}),
            used(4, "tool_use"),
            STOP,
        )
    )
    pieces = await ask(provider)
    assert [piece for piece in pieces if isinstance(piece, ToolCall)] == [
        ToolCall("call_a", "weather", '{"city": "Oslo"}'),
        ToolCall("call_b", "time", ""),
    ]
    assert pieces[0] == "I look."
    assert Usage(9, 4) in pieces


async def test_the_usage_is_the_last_piece(provider: AnthropicProvider, server: Server) -> None:
    """As `stream` says: text, calls of tools, then the usage."""
    server.answer = answer(
        events(began(), block(0, "tool_use", id="call_a", name="weather", input={}), used(4, "tool_use"), STOP)
    )
    assert await ask(provider) == [ToolCall("call_a", "weather", ""), Usage(9, 4)]


async def test_a_usage_that_is_told_twice_counts_once(provider: AnthropicProvider, server: Server) -> None:
    """There may be several `message_delta`, and each tells the tokens of the whole answer so far."""
    server.answer = answer(events(began(), said("Hello"), used(2, None), used(4), STOP))
    assert await ask(provider) == ["Hello", Usage(9, 4)]


async def test_an_answer_that_was_not_stopped_broke_off(provider: AnthropicProvider, server: Server) -> None:
    """Also where the stream ended as it should: what came is told, then that it is not all, and no half of a call."""
    server.answer = answer(
        events(began(), said("Hel"), block(1, "tool_use", id="call_a", name="weather"), called(1, '{"ci'), used(4))
    )
    pieces, error = await failure(provider)
    assert pieces == ["Hel", Usage(9, 4)]
    assert error.kind == "unavailable"


@pytest.mark.parametrize("text", [None, 5, ["Hello"]])
async def test_text_that_is_no_text_makes_no_sense(provider: AnthropicProvider, server: Server, text: Any) -> None:
    """A delta whose text is anything else is a failure of the provider's."""
    server.answer = answer(events(began(), said(text), used(4), STOP))
    pieces, error = await failure(provider)
    assert (pieces, error.kind) == ([], "unavailable")


async def test_a_connection_serves_one_answer_after_another(provider: AnthropicProvider, server: Server) -> None:
    """Three answers are one connection: a new one costs a handshake."""
    server.answer = answer(events(*HELLO))
    for _ in range(3):
        assert await ask(provider) == HELLO_PIECES
    assert server.connections == 1


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_each_status_is_its_kind_of_failure(
    provider: AnthropicProvider, server: Server, status: int, kind: FailureKind
) -> None:
    """One request, whatever it is; the message names the status, and quotes nothing of the provider's."""
    server.answer = answer(
        b'{"type": "error", "error": {"type": "x", "message": "you said: well?"}}',
        status=status,
        content_type="application/json",
    )
    _, error = await failure(provider)
    assert (error.kind, error.status, error.retry_after) == (kind, status, None)
    assert str(error) == f"anthropic answered {status}"
    assert len(server.requests) == 1


@pytest.mark.parametrize(("value", "seconds"), RETRY_AFTER)
async def test_the_pause_that_is_asked_for_is_told(
    provider: AnthropicProvider, server: Server, value: str, seconds: float | None
) -> None:
    """`Retry-After` as seconds or as a date, at most ten minutes; what is neither is none."""
    server.answer = answer(b"busy", status=429, headers={"retry-after": value})
    assert (await failure(provider))[1].retry_after == seconds


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_is_none_is_a_failure(provider: AnthropicProvider, server: Server, name: str) -> None:
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
    server.answer = answer(events(began(), said("Hel")))[:-1] if begun else ()
    provider = make(server, read=0.1)
    pieces, error = await failure(provider)
    await provider.aclose()
    assert pieces == (["Hel"] if begun else [])
    assert error.kind == "unavailable"


async def test_an_error_in_mid_stream_is_a_failure(provider: AnthropicProvider, server: Server) -> None:
    """What came before it was told already."""
    error_event = {"type": "error", "error": {"type": "overloaded_error", "message": "you said: well?"}}
    server.answer = answer(events(began(), said("Hel"), error_event))
    pieces, error = await failure(provider)
    assert (pieces, error.kind) == (["Hel"], "unavailable")
    assert "well" not in str(error)


async def test_closing_the_iterator_closes_the_connection(provider: AnthropicProvider, server: Server) -> None:
    """The provider learns that nobody listens any more, in the middle of an answer."""
    server.answer = answer(events(began(), said("Hel")))[:-1]
    pieces = provider.stream(request())
    assert await first_text(pieces) == "Hel"
    assert not server.left.is_set()
    await pieces.aclose()
    async with asyncio.timeout(HANGS):
        await server.left.wait()


STREAM = answer(
    events(
        began(),
        said("Hel"),
        said("lo, wörld"),
        block(1, "tool_use", id="call_a", name="weather"),
        called(1, '{"a": "ü"}'),
        used(4),
        STOP,
    )
)
STREAM_PIECES: list[Piece] = ["Hel", "lo, wörld", ToolCall("call_a", "weather", '{"a": "ü"}'), Usage(9, 4)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_an_answer_may_come_in_any_parts(
    provider: AnthropicProvider, server: Server, data: st.DataObject
) -> None:
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
    """Wherever the connection ends: the same pieces, as far as they came, and a failure where the stop did not come.

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
        assert pieces == STREAM_PIECES
