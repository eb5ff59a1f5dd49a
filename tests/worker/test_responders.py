"""Responders of one's own: the examples, each in a stack of its own folder, and what happens when one is wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.errors import UsageError
from cloudia.worker import ChatMessage, Tool
from cloudia.worker.responders import load_responder
from tests.patience import HANGS
from tests.support import RunningStack, eventually, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose responder is a file of the test's, watched for changes."""
    folder = tmp_path_factory.mktemp("responder")
    (folder / "cloudia.toml").write_text('[worker]\nresponder = "bot:answer"\n[up]\nreload = true\n')
    shutil.copy(EXAMPLES / "echo.py", folder / "bot.py")
    running = start_stack(folder)
    yield running
    stop_stack(running)


async def become(own: RunningStack, source: str) -> None:
    """Change the responder, and wait until new workers run it."""
    before = {worker["id"] for worker in health(own)["workers"]}
    (own.folder / "bot.py").write_text(source)
    await eventually(lambda: {worker["id"] for worker in health(own)["workers"]} - before)


def health(own: RunningStack) -> Any:
    """Return the stack's health."""
    with urllib.request.urlopen(f"{own.run['api_url']}/health", timeout=HANGS) as answer:
        return json.loads(answer.read())


def test_the_echo_answers_without_an_llm(own: RunningStack) -> None:
    """The responder that cloudia.toml names answers, as the user that asked; no LLM is called."""
    sent = own.json("send", "one two three", "--user", "carol")
    assert sent["reply"] == "**carol** said: one two three"
    assert sent["usage"] is None


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_the_llm_calls_a_tool(stack: RunningStack, provider: str) -> None:
    """The LLM calls the calculator, gets its result, and answers with it, over both APIs."""
    from cloudia.worker.routes import make_llm  # noqa: PLC0415
    from tests.support import make_cloud  # noqa: PLC0415

    cloud = make_cloud(stack, llm_provider=provider)
    llm = make_llm(cloud.settings, cloud.parameters, cloud.stack)
    asked: list[str] = []

    async def calculate(expression: str) -> str:
        asked.append(expression)
        return f"{expression} = 42"

    tool = Tool(
        "calculate", "Calculate.", {"type": "object", "properties": {"expression": {"type": "string"}}}, calculate
    )
    call = llm.call(job_id="job_test", attempt=1)
    question = ChatMessage("user", 'please [[tool:calculate {"expression": "6 * 7"}]]')
    text = "".join([piece async for piece in call.stream([question], tools=[tool])])
    await llm.aclose()
    assert asked == ["6 * 7"]
    assert "42" in text
    assert call.calls == 2
    assert call.usage is not None


async def test_the_calculator_example(own: RunningStack) -> None:
    """The example's own tool is called and its result is in the answer; the workers took up the new file by themselves."""
    await become(own, (EXAMPLES / "calculator.py").read_text())
    sent = own.json("send", 'what is it? [[tool:calculate {"expression": "6 * 7"}]]')
    assert "6 * 7 = 42" in sent["reply"]


@pytest.mark.long
async def test_the_retrieval_example(own: RunningStack) -> None:
    """What the local files say about the question goes to the LLM with it."""
    knowledge = own.folder / "knowledge"
    knowledge.mkdir()
    (knowledge / "tides.md").write_text("The moon raises the tides of the ocean.\n\nBread needs flour and patience.\n")
    await become(own, (EXAMPLES / "files.py").read_text())
    sent = own.json("send", "who raises the tides? [[words:120]]")
    assert sent["status"] == "done"
    assert sent["usage"]["input_tokens"] > 30


async def test_an_exception_is_that_jobs_failure_alone(own: RunningStack) -> None:
    """A responder that fails for one message answers the others; the connection of the client stays open meanwhile."""
    async with own.client() as client:
        session = await client.connected()
        await become(
            own,
            "async def answer(turn):\n"
            "    if 'fail' in turn.messages[-1].content and turn.attempt == 1:\n"
            "        raise RuntimeError('no')\n"
            "    yield f'attempt {turn.attempt}'\n",
        )
        first, second = await asyncio.gather(*(_ask(client, text) for text in ("please fail", "please work")))
        assert (first, second) == ("attempt 2", "attempt 1")
        assert client.stream.session_id == session


async def test_an_answer_that_is_too_long_to_be_recorded_ends_there(own: RunningStack) -> None:
    """What came until then is kept whole, and `finish` says that it was cut; the responder is closed, and not asked again."""
    await become(own, "async def answer(turn):\n    while True:\n        yield 'é' * 9_999\n")
    sent = own.json("send", "tell me everything")
    assert (sent["status"], sent["finish"], sent["attempts"]) == ("done", "length", 1)
    assert sent["reply"] == "é" * 190_000
    again = own.json("send", "and more", "--conversation", sent["conversation_id"])
    assert (again["status"], again["finish"]) == ("done", "length")


async def _ask(client: Any, text: str) -> str:
    answer = ""
    async for event in client.ask(text):
        answer = "" if event.type == "reset" else answer + (event.data or {}).get("text", "")
    return answer


@pytest.mark.parametrize(
    ("name", "says"),
    [("nonsense", "module:function"), ("no_such_module:answer", "cannot be loaded"), ("json:dumps", "async generator")],
)
def test_a_responder_that_cannot_be_loaded_is_named(name: str, says: str) -> None:
    """What is wrong with `worker.responder` is one sentence with an example."""
    with pytest.raises(UsageError, match=says) as raised:
        load_responder(name)
    assert "async def answer" in raised.value.hint
