"""The Anthropic API as Anthropic's own SDK sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import anthropic

    from tests.sim.llm.conftest import Server

HELLO: Any = [{"role": "user", "content": "hello there"}]
TOOLS: Any = [{"name": "weather", "input_schema": {"type": "object"}}]


def test_answer_in_one_piece(anthropic_client: anthropic.Anthropic) -> None:
    """A message has the shape, the model, a usage and an id for the request."""
    got = anthropic_client.messages.create(model="any", max_tokens=1_000, messages=HELLO, system="Be brief.")
    block: Any = got.content[0]
    assert (got.type, got.role, got.model, got.stop_reason) == ("message", "assistant", "any", "end_turn")
    assert "hello there" in block.text
    assert "Be brief." in block.text
    assert got.usage.input_tokens > 0
    assert got.usage.output_tokens > 0
    assert got._request_id


def test_stream(anthropic_client: anthropic.Anthropic) -> None:
    """A stream has Anthropic's events in Anthropic's order, and adds up to the other form's message."""
    whole: Any = anthropic_client.messages.create(model="m", max_tokens=1_000, messages=HELLO)
    events: list[Any] = list(anthropic_client.messages.create(model="m", max_tokens=1_000, messages=HELLO, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:3] == ["message_start", "content_block_start", "content_block_delta"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    deltas = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert "".join(deltas) == whole.content[0].text
    assert events[0].message.usage.input_tokens == whole.usage.input_tokens
    assert events[-2].usage.output_tokens == whole.usage.output_tokens == len(deltas)
    with anthropic_client.messages.stream(model="m", max_tokens=1_000, messages=HELLO) as stream:
        assert stream.get_final_text() == whole.content[0].text


def test_limit_and_stop(anthropic_client: anthropic.Anthropic, server: Server) -> None:
    """`max_tokens` and `stop_sequences` end an answer with their reasons."""
    cut = anthropic_client.messages.create(model="m", max_tokens=4, messages=HELLO)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 4)
    server.post("replies", text="one two three")
    stopped: Any = anthropic_client.messages.create(model="m", max_tokens=9, messages=HELLO, stop_sequences=["two"])
    assert (stopped.content[0].text, stopped.stop_reason, stopped.stop_sequence) == ("one ", "stop_sequence", "two")


def test_tool_round_trip(anthropic_client: anthropic.Anthropic) -> None:
    """A directive calls the tool, streamed or not, and the tool's result is answered."""
    asked: list[Any] = [{"role": "user", "content": [{"type": "text", "text": 'go [[tool:weather {"city": "Oslo"}]]'}]}]
    got = anthropic_client.messages.create(model="m", max_tokens=100, messages=asked, tools=TOOLS)
    call: Any = got.content[0]
    assert (got.stop_reason, call.type, call.name, call.input) == ("tool_use", "tool_use", "weather", {"city": "Oslo"})

    with anthropic_client.messages.stream(model="m", max_tokens=100, messages=asked, tools=TOOLS) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert final.content[0].to_dict() == call.to_dict()

    for content in ("rain", [{"type": "text", "text": "rain"}]):
        result = {"type": "tool_result", "tool_use_id": call.id, "content": content}
        history: list[Any] = [*asked, {"role": "assistant", "content": [call.to_dict()]}]
        history.append({"role": "user", "content": [result]})
        then: Any = anthropic_client.messages.create(model="m", max_tokens=1_000, messages=history, tools=TOOLS)
        assert then.stop_reason == "end_turn"
        assert "The tool answered “rain”" in then.content[0].text
        assert "turn 1 " in then.content[0].text


def test_blocks(anthropic_client: anthropic.Anthropic) -> None:
    """A message in blocks is read; what is no text shows as its kind."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
    asked: Any = [
        {"role": "user", "content": [{"type": "text", "text": "look:"}, image]},
        {"role": "user", "content": []},
    ]
    got: Any = anthropic_client.messages.create(model="m", max_tokens=1_000, messages=asked, system=[])
    assert "“look: [image]”" in got.content[0].text


def test_models(anthropic_client: anthropic.Anthropic) -> None:
    """Models are listed in Anthropic's shape to who asks as Anthropic's SDK does."""
    assert "sim-large" in [model.id for model in anthropic_client.models.list()]
    assert anthropic_client.models.retrieve("claude-next").type == "model"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "the body is not valid JSON"),
        ({"max_tokens": 9, "messages": HELLO}, "model: Field required"),
        ({"model": "m", "messages": HELLO}, "max_tokens: Field required"),
        ({"model": "m", "max_tokens": "9", "messages": HELLO}, "max_tokens: must be a whole number"),
        ({"model": "m", "max_tokens": 9}, "messages: at least one message is required"),
        ({"model": "m", "max_tokens": 9, "messages": [{"role": "king"}]}, "messages.0.role: must be"),
        ({"model": "m", "max_tokens": 9, "messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": 1}]}, "content: must be a string"),
        ({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [{}]}]}, "type: Field required"),
        ({"model": "m", "max_tokens": 9, "messages": HELLO, "system": 1}, "system: must be a string"),
        ({"model": "m", "max_tokens": 9, "messages": HELLO, "tools": [{"name": 1}]}, "name: must be a string"),
    ],
)
def test_bad_input(server: Server, body: Any, said: str) -> None:
    """What is wrong is answered 400 in Anthropic's shape, with the field's name in the message."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    got = server.http.post("/v1/messages", content=content, headers={"x-api-key": "k"})
    assert got.status_code == 400
    assert got.json()["type"] == "error"
    assert got.json()["error"]["type"] == "invalid_request_error"
    assert said in got.json()["error"]["message"]


def test_no_key(server: Server) -> None:
    """Without a key there is no answer, and 401 in Anthropic's shape; a bearer token does as well as a key."""
    body = {"model": "m", "max_tokens": 9, "messages": HELLO}
    got = server.http.post("/v1/messages", json=body, headers={"x-api-key": ""})
    assert (got.status_code, got.json()["error"]["type"]) == (401, "authentication_error")
    assert server.http.post("/v1/messages", json=body, headers={"authorization": "Bearer k"}).status_code == 200
