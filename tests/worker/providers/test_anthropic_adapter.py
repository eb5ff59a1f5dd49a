"""Anthropic's adapter, through its SDK and a real HTTP exchange with a server in the test's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloudia.worker.providers.anthropic import AnthropicProvider
from cloudia.worker.providers.base import ChatMessage, ToolCall, Usage
from tests.worker.providers.anthropic_events import HELLO, STOP, began, block, called, said, used
from tests.worker.providers.calls import HEADERS, HELLO_PIECES, WEATHER, ask, attempt, failure, reach, request
from tests.worker.providers.server import Server, answer, events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def provider(server: Server) -> AsyncIterator[AnthropicProvider]:
    """The adapter, talking to the test's server."""
    provider = AnthropicProvider(reach(server.url, "anthropic"))
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
