"""The Responses API as OpenAI's own SDK sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.sim.llm import answers
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.responses_api import ResponsesApi
from tests.sim.llm.test_openai_api import JSON

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sim.llm.conftest import Server

WORDS = st.sampled_from(["message", "user", "developer", "function_call_output", "input_text"])
TOOLS: Any = [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}]


@pytest.fixture
async def sdk(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0) as client:
        yield client


async def test_answer_in_one_piece(sdk: openai.AsyncOpenAI) -> None:
    """A response has the shape, the model, a usage that adds up and an id for the request."""
    got = await sdk.responses.create(model="any/model", input="hello there", instructions="Be brief.")
    assert (got.object, got.status, got.model, got.error) == ("response", "completed", "any/model", None)
    assert "hello there" in got.output_text
    assert "Be brief." in got.output_text
    assert got.usage
    assert got.usage.input_tokens > 0
    assert got.usage.total_tokens == got.usage.input_tokens + got.usage.output_tokens
    assert got._request_id


async def test_stream(sdk: openai.AsyncOpenAI) -> None:
    """A stream has OpenAI's events in their order, numbered without a gap, and adds up to the other form's response."""
    whole = await sdk.responses.create(model="m", input="hello there")
    events: list[Any] = [
        event async for event in await sdk.responses.create(model="m", input="hello there", stream=True)
    ]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert [event.type for event in events if event.type != "response.output_text.delta"] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(deltas) == whole.output_text == events[-1].response.output_text == events[-4].text
    assert events[-1].response.usage == whole.usage
    assert whole.usage
    assert whole.usage.output_tokens == len(deltas)
    async with sdk.responses.stream(model="m", input="hello there") as stream:
        assert (await stream.get_final_response()).output_text == whole.output_text


@pytest.mark.parametrize("stream", [False, True])
async def test_limit(sdk: openai.AsyncOpenAI, *, stream: bool) -> None:
    """`max_output_tokens` ends an answer as incomplete, with its reason."""
    got: Any = await sdk.responses.create(model="m", input="hello there", max_output_tokens=16, stream=stream)
    if stream:
        *_, last = [event async for event in got]
        assert last.type == "response.incomplete"
        got = last.response
    assert (got.status, got.incomplete_details.reason, got.usage.output_tokens) == (
        "incomplete",
        "max_output_tokens",
        16,
    )


async def test_tool_round_trip(sdk: openai.AsyncOpenAI) -> None:
    """A directive calls the tool, streamed or not, and the tool's result is answered."""
    asked: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": 'go [[tool:weather {"city": "Oslo"}]]'}]}
    ]
    got = await sdk.responses.create(model="m", input=asked, tools=TOOLS)
    call: Any = got.output[0]
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", {"city": "Oslo"})
    async with sdk.responses.stream(model="m", input=asked, tools=TOOLS) as stream:
        final: Any = await stream.get_final_response()
    assert (final.output[0].call_id, final.output[0].arguments) == (call.call_id, call.arguments)
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "rain, 4 degrees"}
    then = await sdk.responses.create(model="m", input=[*asked, call.to_dict(), result], tools=TOOLS)
    assert "rain, 4 degrees" in then.output_text
    assert "turn 1 " in then.output_text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "hello"}, "model"),
        ({"model": "m"}, "input"),
        ({"model": "m", "input": []}, "input"),
        ({"model": "m", "input": 1}, "input"),
        ({"model": "m", "input": [{"role": "king", "content": "hello"}]}, "input[0].role"),
        ({"model": "m", "input": [{"role": "user", "content": 1}]}, "content"),
        ({"model": "m", "input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"model": "m", "input": "hello", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"model": "m", "input": "hello", "max_output_tokens": 15}, "max_output_tokens"),
    ],
)
async def test_bad_input(server: Server, body: Any, param: str) -> None:
    """What is wrong, or wants a response that was kept, is answered 400 with the field's name."""
    got = server.http.post("/v1/responses", json=body, headers={"authorization": "Bearer k"})
    assert (got.status_code, got.json()["error"]["param"]) == (400, param)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.just("m") | JSON,
            "input": st.text(max_size=5)
            | st.lists(
                st.dictionaries(st.sampled_from(["type", "role", "content", "output"]), WORDS | JSON), max_size=3
            )
            | JSON,
            "instructions": JSON,
            "tools": st.lists(st.dictionaries(st.just("name"), JSON), max_size=2) | JSON,
        },
    )
)
def test_any_body_is_answered_or_refused(body: dict[str, Any]) -> None:
    """No JSON makes the parser raise anything but a FieldError, and what it takes can be answered."""
    api = ResponsesApi(lambda: 0.0)
    try:
        prompt = api.parse(body)
    except FieldError:
        return
    reply = answers.answer(prompt, 0)
    assert api.answer(prompt, reply)["output"][0]["content"][0]["text"] == reply.text


async def test_faults_and_cases_are_those_of_openai(sdk: openai.AsyncOpenAI, server: Server) -> None:
    """A fault of `openai` strikes it as well, and what was asked is kept, also where a case answers."""
    server.post("prompts", keep=3)
    server.fault("status", status=429, provider="openai", count=1)
    with pytest.raises(openai.RateLimitError):
        await sdk.responses.create(model="m", input="hello")
    exchange = {"headers": {"content-type": "application/json"}, "body": [{"text": "{}"}]}
    server.post("cases", case={"api": "openai", "turns": [{"exchanges": [exchange]}]})
    await sdk.responses.create(model="m", input="played")
    assert [record["outcome"] for record in server.ended(2)] == ["status", "played"]
    kept = server.get("prompts")["prompts"]
    server.post("prompts", keep=0)
    server.delete("cases")
    assert [prompt["messages"][-1]["content"] for prompt in kept] == ["hello", "played"]
