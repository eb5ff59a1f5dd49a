"""OpenAI's adapter, through its SDK and a real HTTP exchange with a server in the test's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloudia.worker.providers.base import ChatMessage, ToolCall, Usage
from cloudia.worker.providers.openai import OpenAIProvider
from tests.worker.providers.calls import HEADERS, WEATHER, ask, failure, reach, request
from tests.worker.providers.openai_events import HELLO, called, finished, said, used, whole
from tests.worker.providers.server import Server, answer, events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def provider(server: Server) -> AsyncIterator[OpenAIProvider]:
    """The adapter, talking to the test's server."""
    provider = OpenAIProvider(reach(server.url, "openai"))
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
