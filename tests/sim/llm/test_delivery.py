"""Pace, and clients that go before the end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from tests.sim.llm.conftest import wait_until

if TYPE_CHECKING:
    from tests.sim.llm.conftest import Chat, Server

SAID: Any = [{"role": "user", "content": "[[words:20]]"}]


def test_pace_of_a_stream(openai_client: openai.OpenAI, server: Server) -> None:
    """The first token comes after the time to the first token, the last one when the pace says, not later."""
    server.post("settings", ttft=0.3, tps=40)
    began = time.monotonic()
    seen = [
        (time.monotonic() - began, chunk.choices[0].delta.content)
        for chunk in openai_client.chat.completions.create(model="m", messages=SAID, stream=True)
    ]
    tokens = [at for at, content in seen if content]
    assert 0.3 <= tokens[0] < 0.6
    expected = 0.3 + (len(tokens) - 1) / 40
    assert expected <= tokens[-1] < expected + 0.3


def test_pace_of_an_answer_in_one_piece(chat: Chat, server: Server) -> None:
    """Without streaming the answer takes as long as its last token would."""
    server.post("settings", ttft=0.1, tps=100)
    chat.ask("[[words:20]]")
    record = server.ended()[0]
    expected = 0.1 + (record["completion_tokens"] - 1) / 100
    assert expected <= record["duration"] < expected + 0.3


def test_no_pacing(chat: Chat, server: Server) -> None:
    """With 0 tokens per second a long answer comes at once, and whole."""
    assert len(chat.ask("[[words:5000]]", stream=True).split()) == 5_000
    assert server.ended()[0]["duration"] < 2


def test_a_client_that_leaves_a_stream(openai_client: openai.OpenAI, server: Server) -> None:
    """Generation stops when the client goes, also in a pause between tokens that would have been long."""
    server.post("settings", tps=0.5)
    stream = openai_client.chat.completions.create(model="m", messages=SAID, stream=True)
    assert next(stream).choices[0].delta.role == "assistant"
    assert server.get("requests")["in_flight"] == 1
    stream.close()
    record = server.ended()[0]
    assert (record["outcome"], record["completion_tokens"]) == ("disconnected", 1)
    assert record["duration"] < 2


def test_a_request_under_way_is_forgotten_with_those_before(openai_client: openai.OpenAI, server: Server) -> None:
    """What was asked before the requests were forgotten is not counted when it ends."""
    server.post("settings", tps=0.5)
    stream = openai_client.chat.completions.create(model="m", messages=SAID, stream=True)
    next(stream)
    assert server.delete("requests") == {"deleted": 0}
    stream.close()
    wait_until(lambda: server.get("requests")["in_flight"] == 0)
    assert (server.get("requests")["total"], server.get("requests")["records"]) == (0, [])


def test_a_client_that_does_not_wait_for_the_answer(chat: Chat, server: Server) -> None:
    """Before the first token it is the same, streamed or not."""
    server.post("settings", ttft=60)
    for stream in (False, True):
        with pytest.raises(chat.errors.APITimeoutError):
            chat.ask("hi", stream=stream, timeout=0.1)
    assert [record["outcome"] for record in server.ended(2)] == ["disconnected"] * 2


def test_a_client_that_leaves_while_it_asks(server: Server) -> None:
    """A client that goes in the middle of its request is recorded, too."""

    def half() -> Any:
        yield b'{"model": '
        raise ConnectionAbortedError

    headers = {"authorization": "Bearer k", "content-length": "1000"}
    with httpx2.Client(base_url=server.url) as client, pytest.raises(ConnectionAbortedError):
        client.post("/v1/chat/completions", content=half(), headers=headers)
    assert server.ended()[0]["outcome"] == "disconnected"


async def test_a_hundred_streams_at_once(server: Server) -> None:
    """A hundred clients are served side by side, each at its own pace and with its own answer."""
    server.post("settings", ttft=0.1, tps=20)
    async with openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0) as client:

        async def one(number: int) -> str:
            said: Any = [{"role": "user", "content": f"number {number} [[words:20]]"}]
            stream: Any = await client.chat.completions.create(model="m", messages=said, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        answers = await asyncio.gather(*(one(number) for number in range(100)))
    assert all(f"“number {number}”" in answer for number, answer in enumerate(answers))
    records = server.ended(100)
    late = [record["duration"] - 0.1 - (record["completion_tokens"] - 1) / 20 for record in records]
    assert min(late) > -0.001  # Times are recorded in milliseconds.
    assert max(late) < 10  # One after the other would take a hundred seconds.
