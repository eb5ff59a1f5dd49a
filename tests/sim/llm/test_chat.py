"""Both APIs alike: determinism, context, faults as the SDKs see them, and what is recorded."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

if TYPE_CHECKING:
    import anthropic

    from tests.sim.llm.conftest import Chat, Server


async def test_four_ways_one_answer(chat: Chat) -> None:
    """Synchronous or not, streamed or not: the same conversation gets the same text."""
    said = "how do I deploy to production?"
    texts = {chat.ask(said), chat.ask(said, stream=True)}
    texts |= {await chat.ask_async(said), await chat.ask_async(said, stream=True)}
    assert len(texts) == 1
    assert said in texts.pop()


def test_the_server_s_seed(chat: Chat, server: Server) -> None:
    """Another seed gives other answers; the first seed again gives the first ones again."""
    first = chat.ask("hello")
    server.post("settings", seed=5)
    assert chat.ask("hello") != first
    server.post("settings", seed=0)
    assert chat.ask("hello") == first


def test_the_second_answer_knows_the_first_message(chat: Chat) -> None:
    """An answer quotes what was said before it."""
    first = {"role": "user", "content": "my cat is called Ophelia"}
    answer = {"role": "assistant", "content": chat.ask([first])}
    said = chat.ask([first, answer, {"role": "user", "content": "what is it called?"}])
    assert "turn 2" in said
    assert "my cat is called Ophelia" in said


def test_scripted_replies(chat: Chat, server: Server) -> None:
    """Queued texts are answered first, in order, as often as asked for; then generated ones come again."""
    generated = chat.ask("hi")
    assert server.post("replies", text="first 😀\n```x```") == {"queued": 1}
    assert server.post("replies", text="twice", times=2) == {"queued": 2}
    assert chat.ask("hi", stream=True) == "first 😀\n```x```"
    assert chat.ask("hi") == "twice"
    assert server.get("replies") == {"replies": [{"text": "twice", "times": 1}]}
    assert [chat.ask("hi"), chat.ask("hi")] == ["twice", generated]
    server.post("replies", text="never")
    assert server.delete("replies") == {"deleted": 1}
    assert chat.ask("hi") == generated


def test_an_empty_scripted_reply(chat: Chat, server: Server) -> None:
    """An empty text is an answer, too."""
    server.post("replies", text="", times=2)
    assert [chat.ask("hi"), chat.ask("hi", stream=True)] == ["", ""]


@pytest.mark.parametrize(
    ("status", "error", "kinds"),
    [
        (400, "BadRequestError", ("invalid_request_error", "invalid_request_error")),
        (401, "AuthenticationError", ("invalid_request_error", "authentication_error")),
        (429, "RateLimitError", ("requests", "rate_limit_error")),
        (500, "InternalServerError", ("server_error", "api_error")),
        (503, "InternalServerError", ("server_error", "api_error")),
        (529, "InternalServerError", ("server_error", "overloaded_error")),
    ],
)
def test_status(chat: Chat, server: Server, status: int, error: str, kinds: tuple[str, str]) -> None:
    """A status fault raises the SDK's own exception, with the vendor's error body; the next request is answered."""
    for stream in (False, True):
        server.fault("status", status=status, count=1)
        with pytest.raises(getattr(chat.errors, error)) as raised:
            chat.ask("hi", stream=stream)
        assert raised.value.status_code == status
        body: Any = raised.value.response.json()
        assert body["error"]["type"] == kinds[chat.sdk == "anthropic"]
        assert str(status) in body["error"]["message"]
        assert "retry-after" not in raised.value.response.headers
        assert chat.ask("hi", stream=stream)
    assert [record["outcome"] for record in server.ended(4)] == ["status", "answered"] * 2


@pytest.mark.parametrize(("seconds", "header"), [(2, "2"), (0.5, "0.5")])
def test_retry_after(chat: Chat, server: Server, seconds: float, header: str) -> None:
    """`retry_after` comes as the header."""
    server.fault("status", status=429, retry_after=seconds)
    with pytest.raises(chat.errors.RateLimitError) as raised:
        chat.ask("hi")
    assert raised.value.response.headers["retry-after"] == header


def test_hang(chat: Chat, server: Server) -> None:
    """A hanging provider answers nothing: the client's own timeout ends it, and the provider lets go at once."""
    server.fault("hang")
    with pytest.raises(chat.errors.APITimeoutError):
        chat.ask("hi", timeout=0.2)
    assert server.ended()[0]["outcome"] == "hang"


def test_timeout(chat: Chat, server: Server) -> None:
    """A timeout is silent for its delay, then 504."""
    server.fault("timeout", delay=0.2)
    began = time.monotonic()
    with pytest.raises(chat.errors.InternalServerError) as raised:
        chat.ask("hi")
    assert raised.value.status_code == 504
    assert time.monotonic() - began >= 0.2
    assert server.ended()[0]["outcome"] == "timeout"


def test_slow(chat: Chat, server: Server) -> None:
    """A slow provider takes `factor` times as long, and still answers all."""
    plain = chat.ask("hi [[words:10]]", stream=True)
    server.post("settings", ttft=0.05, tps=100)
    server.fault("slow", factor=4)
    assert chat.ask("hi [[words:10]]", stream=True) == plain
    record = server.ended(2)[1]
    assert record["outcome"] == "slow"
    expected = 4 * (0.05 + (record["completion_tokens"] - 1) / 100)
    assert expected <= record["duration"] < expected + 0.5


def test_cut_in_mid_stream(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic, server: Server) -> None:
    """The client has the tokens up to the cut; then the SDK raises, and does not take the answer for complete."""
    server.fault("cut", after_tokens=3)
    said: Any = [{"role": "user", "content": "hi"}]
    deltas: list[Any] = []
    with pytest.raises(openai.APIConnectionError):
        deltas.extend(openai_client.chat.completions.create(model="m", messages=said, stream=True))
    with pytest.raises(httpx2.RemoteProtocolError):
        deltas.extend(anthropic_client.messages.create(model="m", max_tokens=99, messages=said, stream=True))
    records = server.ended(2)
    assert [(record["outcome"], record["completion_tokens"]) for record in records] == [("cut", 3)] * 2


def test_cut_without_streaming(chat: Chat, server: Server) -> None:
    """Without streaming the connection ends instead of the answer."""
    server.fault("cut")
    with pytest.raises(chat.errors.APIConnectionError):
        chat.ask("hi")
    assert server.ended()[0]["outcome"] == "cut"


def test_garbage(chat: Chat, server: Server) -> None:
    """A 200 with bytes that make no sense raises, streamed or not."""
    server.fault("garbage")
    for stream in (False, True):
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            chat.ask("hi", stream=stream)
    assert server.ended(2)[0]["outcome"] == "garbage"


def test_faults_for_one_provider_and_model(chat: Chat, server: Server) -> None:
    """A fault strikes only the provider and the model it names."""
    other = "anthropic" if chat.sdk == "openai" else "openai"
    server.fault("status", provider=other)
    server.fault("status", provider=chat.sdk, model="bad", status=400)
    assert chat.ask("hi")
    with pytest.raises(chat.errors.BadRequestError):
        chat.ask("hi", model="bad")


def test_rate_and_window(chat: Chat, server: Server) -> None:
    """A rate spares some requests and strikes others; after its window a fault strikes none."""
    server.fault("status", rate=0.5, status=503)
    outcomes = []
    for _ in range(20):
        try:
            chat.ask("hi")
            outcomes.append(True)
        except chat.errors.InternalServerError:
            outcomes.append(False)
    assert 3 < sum(outcomes) < 17
    server.delete("faults")
    server.fault("status", **{"for": 0.05})
    deadline = time.monotonic() + 5
    while server.get("faults")["faults"]:
        assert time.monotonic() < deadline
    assert chat.ask("hi")


def test_records(chat: Chat, server: Server) -> None:
    """A record says who asked what and how it ended, and no word of what was said, in the log neither."""
    headers = {"x-request-id": "r1", "x-cloudia-job-id": "j1", "x-cloudia-attempt": "2"}
    before = time.time()
    chat.ask("swordfish", stream=True, extra_headers=headers)
    record = server.ended()[0]
    assert record["completion_tokens"] > 10
    assert before - 1 <= record["started_at"] <= time.time()
    expected = {"api": chat.sdk, "model": "sim-large", "stream": True, "outcome": "answered"}
    expected |= {"request_id": "r1", "job_id": "j1", "attempt": "2"}
    assert expected.items() <= record.items()
    counted = server.get("requests")
    assert counted["by_api"][chat.sdk] == counted["by_outcome"]["answered"] == counted["total"] == 1
    assert "swordfish" not in json.dumps(counted)
    log = server.log.read_text()
    assert "swordfish" not in log
    assert json.loads(log.splitlines()[-1]) == record
