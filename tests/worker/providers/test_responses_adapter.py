"""The adapter for OpenAI's Responses API, through its SDK and a real HTTP exchange."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.worker.providers.base import ChatMessage, Thinking, ToolCall, Usage
from cloudia.worker.providers.responses import ResponsesProvider
from tests.worker.providers.calls import HEADERS, WEATHER, ask, every, failure, finish, reach, request
from tests.worker.providers.responses_events import BEGAN, HELLO, called, ended, item, said
from tests.worker.providers.server import answer, events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.worker.providers.server import Server


@pytest.fixture
async def provider(server: Server) -> AsyncIterator[ResponsesProvider]:
    """The adapter, talking to the test's server."""
    provider = ResponsesProvider(reach(server.url, "openai"))
    yield provider
    await provider.aclose()


async def test_a_request_says_all_that_is_to_be_known(provider: ResponsesProvider, server: Server) -> None:
    """Instructions apart, calls and their results as items, functions as tools; nothing is stored at the provider."""
    server.answer = answer(events(*HELLO))
    calls = (ToolCall("call_1", "weather", '{"city": "Oslo"}'), ToolCall("call_2", "weather", "[1]"))
    await ask(
        provider,
        request(
            ChatMessage("user", "weather?"),
            ChatMessage("assistant", "I look.", tool_calls=calls),
            ChatMessage("tool", "sunny", tool_call_id="call_1"),
            ChatMessage("tool", "error", tool_call_id="call_2"),
            system="Be brief.",
            tools=(WEATHER,),
        ),
    )
    (sent,) = server.requests
    assert sent.line == "POST /responses HTTP/1.1"
    assert HEADERS.items() <= sent.headers.items()
    assert sent.body == {
        "model": "model-1",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "content": "I look."},
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Oslo"}'},
            {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            {"type": "function_call_output", "call_id": "call_2", "output": "error"},
        ],
        "tools": [
            {
                "type": "function",
                "name": "weather",
                "description": "Tells the weather.",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
                "strict": False,
            }
        ],
        "max_output_tokens": 77,
        "store": False,
        "stream": True,
    }


async def test_calls_come_in_parts_and_are_told_once(provider: ResponsesProvider, server: Server) -> None:
    """Items end with what their parts have said, and the response with all items once more."""
    whole = {"type": "function_call", "call_id": "call_b", "name": "time", "arguments": '{"city": "Rio"}'}
    server.answer = answer(
        events(
            BEGAN,
            item("function_call", 0, call_id="call_a", name="weather", arguments=""),
            called(0, '{"city": '),
            called(0, '"Oslo"}'),
            item("function_call", 0, done=True, call_id="call_a", name="weather", arguments='{"city": "Oslo"}'),
            ended(output=({"type": "function_call", "call_id": "call_a", "name": "weather"}, whole)),
        )
    )
    assert await ask(provider) == [
        ToolCall("call_a", "weather", '{"city": "Oslo"}'),
        ToolCall("call_b", "time", '{"city": "Rio"}'),
        Usage(9, 4),
    ]
    assert await finish(provider) == "tool_calls"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ([said("Hel"), ended()], "stop"),
        ([said("Hel"), ended(reason="max_output_tokens")], "length"),
        ([said("Hel"), ended(reason="content_filter")], "content_filter"),
        ([{"type": "response.refusal.delta", "delta": "No."}, ended()], "refusal"),
    ],
)
async def test_why_it_ended(
    provider: ResponsesProvider, server: Server, told: list[dict[str, Any]], reason: str
) -> None:
    """Whole, cut, filtered or refused."""
    server.answer = answer(events(BEGAN, *told))
    assert await finish(provider) == reason


async def test_reasoning_is_no_text(provider: ResponsesProvider, server: Server) -> None:
    """An item of reasoning, and what of it is told, are thinking."""
    thinking = [
        {"type": f"response.{kind}.delta", "delta": "hm"} for kind in ("reasoning_text", "reasoning_summary_text")
    ]
    server.answer = answer(events(BEGAN, item("reasoning", 0), *thinking, *HELLO[1:]))
    pieces = await every(provider)
    assert [piece for piece in pieces if isinstance(piece, Thinking)] == [Thinking(), Thinking("hm"), Thinking("hm")]
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == "Hello, wörld"


@pytest.mark.parametrize(
    ("event", "kind", "cause"),
    [
        (
            {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}},
            "unavailable",
            None,
        ),
        ({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}}, "rate_limited", None),
        ({"type": "error", "code": "insufficient_quota", "message": "x"}, "rejected", "quota"),
    ],
)
async def test_a_failed_response(
    provider: ResponsesProvider, server: Server, event: dict[str, Any], kind: str, cause: str | None
) -> None:
    """Its error's code decides, in whichever event it comes."""
    server.answer = answer(events(BEGAN, said("Hel"), event))
    pieces, error = await failure(provider)
    assert (pieces, error.kind, error.cause) == (["Hel"], kind, cause)


async def test_a_document_in_place_of_a_stream(provider: ResponsesProvider, server: Server) -> None:
    """A server that does not stream answers all the same."""
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
    document = {**ended(output=(message,))["response"], "usage": {"input_tokens": 9, "output_tokens": 4}}
    server.answer = answer(json.dumps(document).encode(), content_type="application/json")
    assert await ask(provider) == ["Hello", Usage(9, 4)]


async def test_a_field_that_is_refused_is_left_out(provider: ResponsesProvider, server: Server) -> None:
    """As with the other API, and remembered."""
    error = {"error": {"message": "Unknown parameter: 'store'.", "param": "store", "code": "unknown_parameter"}}
    server.answer = answer(json.dumps(error).encode(), status=400, content_type="application/json")
    _, refused = await failure(provider)
    assert (refused.field, refused.mended) == ("store", True)
    server.answer = answer(events(*HELLO))
    await ask(provider)
    assert "store" not in server.requests[-1].body
