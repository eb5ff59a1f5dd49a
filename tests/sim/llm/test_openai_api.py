"""The OpenAI API as OpenAI's own SDK sees it."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.sim.llm import answers
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.openai_api import OpenAIApi

if TYPE_CHECKING:
    from collections.abc import Iterable

    import openai

    from tests.sim.llm.conftest import Server

HELLO: Any = [{"role": "user", "content": "hello there"}]
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def test_answer_in_one_piece(openai_client: openai.OpenAI) -> None:
    """A completion has the shape, the model, a usage that adds up and an id for the request."""
    got = openai_client.chat.completions.create(model="any/model", messages=HELLO)
    assert got.object == "chat.completion"
    assert got.model == "any/model"
    assert got.choices[0].finish_reason == "stop"
    assert "hello there" in (got.choices[0].message.content or "")
    assert got.usage
    assert got.usage.prompt_tokens > 0
    assert got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens
    assert got._request_id
    assert got.id.startswith("chatcmpl-")


def test_stream(openai_client: openai.OpenAI) -> None:
    """A stream begins with the role, goes token by token, ends with the reason; no usage unless asked for."""
    chunks = list(openai_client.chat.completions.create(model="m", messages=HELLO, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert not any(chunk.usage for chunk in chunks)


def test_usage_in_a_stream(openai_client: openai.OpenAI) -> None:
    """With `include_usage` one more chunk, without choices, carries the usage that the other form gives."""
    *chunks, last = openai_client.chat.completions.create(
        model="m", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    assert last.choices == []
    assert last.usage == openai_client.chat.completions.create(model="m", messages=HELLO).usage
    assert last.usage
    assert last.usage.completion_tokens == sum(bool(chunk.choices[0].delta.content) for chunk in chunks)


def test_limit(openai_client: openai.OpenAI) -> None:
    """Both names of the token limit cut the answer with the reason `length`, the newer one before the older."""
    for limit in ({"max_tokens": 4}, {"max_completion_tokens": 4}, {"max_tokens": 9, "max_completion_tokens": 4}):
        got = openai_client.chat.completions.create(model="m", messages=HELLO, **limit)  # type: ignore[call-overload]
        assert (got.usage.completion_tokens, got.choices[0].finish_reason) == (4, "length")


def test_stop(openai_client: openai.OpenAI, server: Server) -> None:
    """A stop sequence ends the answer before itself, with the reason `stop`."""
    server.post("replies", text="one two three")
    got = openai_client.chat.completions.create(model="m", messages=HELLO, stop="three")
    assert (got.choices[0].message.content, got.choices[0].finish_reason) == ("one two ", "stop")


def test_seed(openai_client: openai.OpenAI) -> None:
    """The request's seed changes the answer, and the same seed gives the same."""
    said = [
        openai_client.chat.completions.create(model="m", messages=HELLO, seed=seed).choices[0].message.content
        for seed in (1, 2, 1)
    ]
    assert said[0] == said[2] != said[1]


def test_tool_round_trip(openai_client: openai.OpenAI) -> None:
    """A directive calls the tool, streamed or not, and the tool's result is answered."""
    asked: list[Any] = [{"role": "user", "content": 'go [[tool:weather {"city": "Oslo", "n": [[1]]}]]'}]
    got = openai_client.chat.completions.create(model="m", messages=asked, tools=TOOLS)
    message = got.choices[0].message
    assert (got.choices[0].finish_reason, message.content) == ("tool_calls", None)
    assert message.tool_calls
    call: Any = message.tool_calls[0]
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Oslo", "n": [[1]]}

    with openai_client.chat.completions.stream(model="m", messages=asked, tools=TOOLS) as stream:
        final: Any = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.tool_calls[0].id == call.id
    assert final.choices[0].message.tool_calls[0].function.arguments == call.function.arguments

    history = [*asked, message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "rain, 4 degrees"}]
    then = openai_client.chat.completions.create(model="m", messages=history, tools=TOOLS)
    assert "rain, 4 degrees" in (then.choices[0].message.content or "")


def test_a_tool_that_is_not_offered_is_not_called(openai_client: openai.OpenAI) -> None:
    """Without the tool in the request the directive is only a message."""
    asked: Any = [{"role": "user", "content": "[[tool:weather {}]]"}]
    got = openai_client.chat.completions.create(model="m", messages=asked)
    assert got.choices[0].finish_reason == "stop"


def test_parts(openai_client: openai.OpenAI) -> None:
    """A message in parts is read; what is no text shows as its kind."""
    parts = [{"type": "text", "text": "look:"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    asked: Any = [
        {"role": "user", "content": parts},
        {"role": "user", "content": []},
        {"role": "developer", "content": ""},
    ]
    got = openai_client.chat.completions.create(model="m", messages=asked)
    assert "“look: [image_url]”" in (got.choices[0].message.content or "")


def test_models(openai_client: openai.OpenAI) -> None:
    """Models are listed, and any one can be retrieved, as any one can be used."""
    names = [model.id for model in openai_client.models.list()]
    assert "sim-large" in names
    assert openai_client.models.retrieve("meta/llama-9").id == "meta/llama-9"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"\xff", None),
        (b"[]", None),
        (b"[" * 100_000, None),
        (b'{"seed": ' + b"1" * 5_000 + b"}", None),
        ({"messages": HELLO}, "model"),
        ({"model": 1, "messages": HELLO}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": "hi"}, "messages"),
        ({"model": "m", "messages": ["hi"]}, "messages"),
        ({"model": "m", "messages": [{"role": "king", "content": ""}]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user", "content": 3}]}, "content"),
        ({"model": "m", "messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "type"),
        ({"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "text"),
        ({"model": "m", "messages": HELLO, "stream": "yes"}, "stream"),
        ({"model": "m", "messages": HELLO, "stream_options": []}, "stream_options"),
        ({"model": "m", "messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ({"model": "m", "messages": HELLO, "max_tokens": True}, "max_tokens"),
        ({"model": "m", "messages": HELLO, "stop": {}}, "stop"),
        ({"model": "m", "messages": HELLO, "tools": [1]}, "tools"),
        ({"model": "m", "messages": HELLO, "seed": "a"}, "seed"),
        ({"model": "m", "messages": HELLO, "n": 2}, "n"),
    ],
)
def test_bad_input(server: Server, body: Any, param: str | None) -> None:
    """What is wrong is answered 400 in OpenAI's shape, with the field's name, and recorded as refused."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    got = server.http.post("/v1/chat/completions", content=content, headers={"authorization": "Bearer k"})
    assert got.status_code == 400
    error = got.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]
    assert server.ended()[0]["outcome"] == "refused"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.just("m") | JSON,
            "messages": st.lists(
                st.fixed_dictionaries({"role": st.sampled_from(["user", "tool"]) | JSON, "content": JSON}), max_size=3
            )
            | JSON,
            "stream": JSON,
            "tools": st.lists(st.dictionaries(st.sampled_from(["function", "custom"]), JSON), max_size=2) | JSON,
            "stop": JSON,
        },
    )
)
def test_any_body_is_answered_or_refused(body: dict[str, Any]) -> None:
    """No JSON makes the parser raise anything but a FieldError, and what it takes can be answered."""
    api = OpenAIApi(lambda: 0.0)
    try:
        prompt = api.parse(body)
    except FieldError:
        return
    reply = answers.answer(prompt, 0)
    frames = api.frames(prompt, reply)
    events = [frames.head, *map(frames.token, reply.chunks, count())]
    assert "".join(_contents(events)) == api.answer(prompt, reply)["choices"][0]["message"]["content"] == reply.text


def _contents(events: Iterable[bytes]) -> list[str]:
    return [json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"]["content"] for event in events]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer"}, {"authorization": "Basic eA=="}])
def test_no_key(server: Server, headers: dict[str, str]) -> None:
    """Without a key there is no answer, and 401 in OpenAI's shape."""
    for got in (
        server.http.post("/v1/chat/completions", json={"model": "m", "messages": HELLO}, headers=headers),
        server.http.get("/v1/models", headers=headers),
    ):
        assert got.status_code == 401
        assert got.json()["error"]["code"] == "invalid_api_key"


def test_wrong_path_and_method(server: Server) -> None:
    """What is not there is answered in OpenAI's shape, too."""
    assert server.http.post("/v1/embeddings", json={}).json()["error"]["type"] == "invalid_request_error"
    assert server.http.get("/v1/chat/completions").status_code == 405


def test_half_a_surrogate_pair(server: Server) -> None:
    """JSON can escape half a character; it comes back as the replacement character."""
    body = b'{"model": "m\\ud800", "messages": [{"role": "user", "content": "odd \\udfff one"}]}'
    got = server.http.post("/v1/chat/completions", content=body, headers={"authorization": "Bearer k"})
    assert got.json()["model"] == "m\N{REPLACEMENT CHARACTER}"
    assert "odd \N{REPLACEMENT CHARACTER} one" in got.json()["choices"][0]["message"]["content"]


def test_a_body_that_is_too_large(server: Server) -> None:
    """More than 8 MiB are refused with 413, and the connection can be used again."""
    headers = {"authorization": "Bearer k"}
    large = server.http.post("/v1/chat/completions", content=b" " * (8 * 1024 * 1024 + 1), headers=headers)
    assert large.status_code == 413
    assert "8388609 bytes" in large.json()["error"]["message"]
    assert server.http.get("/v1/models", headers=headers).status_code == 200
