"""Second opinions: mock LLM servers that others have written are answered by a whole stack, and one judges how it coped."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.cli.recording import recording
from tests.providers.others import MissingError, aimock, llmock
from tests.sim.llm.conftest import started, wait_until
from tests.support import RunningStack, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parents[2] / "examples"
SETTINGS = {
    "CLOUDIA_WORKER_RESPONDER": "calculator:answer",
    "CLOUDIA_WORKER_MAX_ATTEMPTS": "3",
    "CLOUDIA_LLM_FIRST_TOKEN_SECONDS": "3",
    "CLOUDIA_LLM_GAP_SECONDS": "3",
    "CLOUDIA_LLM_BREAKER_ERRORS": "1000",
    "OPENAI_API_KEY": "sk-test",
    "ANTHROPIC_API_KEY": "sk-test",
}


def _stack(folder: Path, api: str, url: str) -> RunningStack:
    """Start a stack that speaks an API to a base URL."""
    shutil.copy(EXAMPLES / "calculator.py", folder)
    return start_stack(folder, "--llm", api, **SETTINGS, **{f"{api.upper()}_BASE_URL": url})


def _send(stack: RunningStack, content: str) -> dict[str, Any]:
    """Send a message and return its document, however it ends."""
    done = stack.cli("send", content, "--json", "--timeout", "60")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


# --- llmock ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    try:
        with llmock(tmp_path_factory.mktemp("llmock")) as http:
            yield http
    except MissingError as missing:
        pytest.skip(f"llmock: {missing}")


@pytest.fixture(scope="module", params=[("openai", "/v1"), ("anthropic", "/anthropic")], ids=lambda api: api[0])
def judged(
    request: pytest.FixtureRequest, judge: httpx2.Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningStack]:
    """A stack whose LLM is llmock, by each API in turn."""
    api, path = request.param
    stack = _stack(tmp_path_factory.mktemp("judged"), api, str(judge.base_url.join(path)))
    yield stack
    stop_stack(stack)


@pytest.mark.parametrize(
    ("behaviors", "status"),
    [
        ([], "done"),
        ([{"type": "fail", "status": 503}], "done"),
        ([{"type": "fail", "status": 429, "retry_after": 1}], "done"),
        ([{"type": "fail", "status": 529, "times": 2}], "done"),
        ([{"type": "fail", "status": 503, "times": 20}], "dead_lettered"),
        ([{"type": "fail", "status": 401, "times": 5}], "failed"),
        ([{"type": "fail", "status": 404, "times": 5}], "failed"),
        ([{"type": "stream_fault", "kind": "disconnect", "after_chunks": 2}], "done"),
        ([{"type": "stream_fault", "kind": "truncate", "after_chunks": 2}], "done"),
        ([{"type": "stream_fault", "kind": "malformed", "after_chunks": 2}], "done"),
        ([{"type": "stream_fault", "kind": "stall", "after_chunks": 2, "stall_seconds": 8}], "done"),
        ([{"type": "slow_first_token", "seconds": 2}], "done"),
        ([{"type": "tool_fault", "kind": "malformed_arguments"}], "done"),
        ([{"type": "tool_fault", "kind": "unknown_tool"}], "done"),
        ([{"type": "reply", "tool_calls": [{"name": "calculate", "arguments": {"expression": "6*7"}}]}], "done"),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else "-".join(str(v) for each in value for v in each.values())[:40]
    ),
)
def test_llmock_finds_no_fault(
    judged: RunningStack, judge: httpx2.Client, behaviors: list[dict[str, Any]], status: str
) -> None:
    """The message ends as it should, and whoever made the fault finds nothing wrong with how it was met."""
    judge.post("/_llmock/reset").raise_for_status()
    if behaviors:
        judge.post("/_llmock/scenario", json={"behaviors": behaviors}).raise_for_status()
    sent = _send(judged, "What is 6 * 7?")
    verdict = judge.get("/_llmock/verdict").json()
    judge.delete("/_llmock/scenario")
    assert sent["status"] == status, (sent, verdict)
    assert verdict["findings"] == []


# --- aimock ---------------------------------------------------------------------------------------------------------------

_FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "hello"}, "response": {"content": "Hello from the other side. " * 8}},
    {
        "match": {"userMessage": "think first"},
        "response": {"content": "Forty-two.", "reasoning": "Six times seven, slowly."},
    },
    {
        "match": {"userMessage": "calculate", "hasToolResult": False},
        "response": {"toolCalls": [{"name": "calculate", "arguments": {"expression": "6*7"}}]},
    },
    {"match": {"userMessage": "calculate", "hasToolResult": True}, "response": {"content": "It is 42."}},
    *[
        {
            "match": {"userMessage": word, "sequenceIndex": 0},
            "response": {"error": {"message": "No.", "type": kind}, "status": status},
        }
        for word, kind, status in (
            ("busy", "rate_limit_error", 429),
            ("overloaded", "overloaded_error", 529),
            ("broken", "server_error", 500),
        )
    ],
    {"match": {"userMessage": "cut", "sequenceIndex": 0}, "response": {"content": "x" * 200}, "truncateAfterChunks": 3},
    {
        "match": {"userMessage": "drop", "sequenceIndex": 0},
        "response": {"content": "x" * 200},
        "latency": 50,
        "disconnectAfterMs": 120,
    },
    {
        "match": {"userMessage": "quota"},
        "response": {"error": {"message": "You exceeded it.", "type": "insufficient_quota"}, "status": 429},
    },
    {
        "match": {"userMessage": "key"},
        "response": {"error": {"message": "Bad key.", "type": "authentication_error"}, "status": 401},
    },
    {"match": {"userMessage": "long"}, "response": {"content": "Only the beginning", "finishReason": "length"}},
    {"match": {}, "response": {"content": "Well met."}},
]


@pytest.fixture(scope="module", params=[("openai", "/v1"), ("anthropic", "")], ids=lambda api: api[0])
def elsewhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose LLM is an aimock of its own, by each API in turn."""
    api, path = request.param
    try:
        with aimock(_FIXTURES, tmp_path_factory.mktemp("aimock")) as http:
            stack = _stack(tmp_path_factory.mktemp("elsewhere"), api, str(http.base_url).rstrip("/") + path)
            yield stack
            stop_stack(stack)
    except MissingError as missing:
        pytest.skip(f"aimock: {missing}")


@pytest.mark.parametrize(
    ("content", "status", "reply", "finish"),
    [
        ("hello", "done", "Hello from the other side. " * 8, "stop"),
        ("think first", "done", "Forty-two.", "stop"),
        ("calculate", "done", "It is 42.", "stop"),
        ("busy", "done", "Well met.", "stop"),
        ("overloaded", "done", "Well met.", "stop"),
        ("broken", "done", "Well met.", "stop"),
        ("cut", "done", "Well met.", "stop"),
        ("drop", "done", "Well met.", "stop"),
        ("long", "done", "Only the beginning", "length"),
        ("quota", "failed", "", None),
        ("key", "failed", "", None),
    ],
)
def test_aimock_is_understood(
    elsewhere: RunningStack, content: str, status: str, reply: str, finish: str | None
) -> None:
    """Answers, reasoning, tools, finishes and failures of another's making end as ours do."""
    sent = _send(elsewhere, content)
    assert (sent["status"], sent["reply"], sent["finish"]) == (status, reply, finish), sent


@pytest.mark.parametrize("text", [True, False])
async def test_what_aimock_sends_is_recorded_and_plays_the_same(tmp_path: Path, *, text: bool) -> None:
    """An answer of a server that is not ours plays from its recording as it came; without `--text` only its letters differ."""
    file = tmp_path / "mine.json"
    try:
        with (
            aimock(_FIXTURES, tmp_path) as http,
            recording(file, str(http.base_url.join("/v1")), *(["--text"] if text else [])) as url,
        ):
            heard = await _heard(url)
            wait_until(file.exists)
    except MissingError as missing:
        pytest.skip(f"aimock: {missing}")
    assert "".join(heard) == "Hello from the other side. " * 8
    with started(tmp_path / "provider.log") as provider:
        provider.post("cases", case=json.loads(file.read_text()))
        played = await _heard(f"{provider.url}/v1")
    assert played == (heard if text else [re.sub(r"\w", "x", piece) for piece in heard])


async def _heard(url: str) -> list[str]:
    """Say hello to what speaks OpenAI's API at a base URL. Return the pieces of its answer."""
    async with openai.AsyncOpenAI(api_key="sk-test", base_url=url, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="m", stream=True, messages=[{"role": "user", "content": "hello"}]
        )
        return [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
