"""Tools: arguments that are held to a schema, deadlines, and what the LLM, the log and listeners are told."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia import telemetry
from cloudia.telemetry.events import AttemptIds
from cloudia.worker import Tool
from cloudia.worker.arguments import ArgumentsError, parsed, problems
from cloudia.worker.providers.base import Finish, ProviderError, ToolCall
from cloudia.worker.tools import call_tool, call_tools
from tests.patience import HANGS
from tests.worker.test_llm_calls import HELLO, Scripted, Step, call_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"enum": ["C", "F"]},
        "at": {"type": ["string", "null"]},
        "stops": {
            "type": "array",
            "items": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]},
        },
    },
    "required": ["city"],
}
IDS = AttemptIds(job_id="job_1", conversation_id="cnv_1", traceparent=None, attempt=1, fence=1)


@pytest.fixture(params=["jsonschema", "without it"])
def checker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where jsonschema is installed, and where it is not."""
    if request.param == "without it":
        monkeypatch.setitem(sys.modules, "jsonschema.validators", None)


@pytest.mark.usefixtures("checker")
@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"city": "Oslo"}, None),
        ({"city": "Oslo", "days": 2, "unit": "C", "at": None, "stops": [{"n": 1.5}]}, None),
        ({"city": "Oslo", "days": 2.0}, None),
        ({}, "city is missing"),
        ({"city": 5}, "city is against type"),
        ({"city": "Oslo", "days": "2"}, "days is against type"),
        ({"city": "Oslo", "days": True}, "days is against type"),
        ({"city": "Oslo", "unit": "K"}, "unit is against enum"),
        ({"city": "Oslo", "nation": "NO"}, "nation is not known"),
        ({"city": "Oslo", "stops": [{"n": 1}, {}]}, "stops.1.n is missing"),
        ({"city": "Oslo", "stops": [{"n": "x"}]}, "stops.0.n is against type"),
    ],
)
def test_arguments_are_held_to_their_schema(arguments: dict[str, Any], wrong: str | None) -> None:
    """Types, what is required and what is not declared; the place is named, with jsonschema and without it alike."""
    if wrong is None:
        assert parsed(json.dumps(arguments), SCHEMA) == arguments
        return
    with pytest.raises(ArgumentsError, match=wrong):
        parsed(json.dumps(arguments), SCHEMA)


@pytest.mark.usefixtures("checker")
def test_what_a_schema_leaves_open_passes() -> None:
    """No schema, or one that allows other properties, takes anything that is an object."""
    for schema in ({}, {"type": "object"}, {"type": "object", "properties": {}, "additionalProperties": True}):
        assert parsed('{"anything": [1]}', schema) == {"anything": [1]}
    assert parsed("", {"type": "object", "properties": {}}) == {}
    for text in ("{", "[]", "null", "[" * 100_000):
        with pytest.raises(ArgumentsError):
            parsed(text, {})


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(Json)
def test_both_checkers_agree(value: Any) -> None:
    """Of what both know, the one refuses what the other does."""
    with pytest.MonkeyPatch.context() as patch:
        full = list(problems(value, SCHEMA))
        patch.setitem(sys.modules, "jsonschema.validators", None)
        assert bool(list(problems(value, SCHEMA))) == bool(full)


async def broken(**_: Any) -> str:
    raise OSError("disk /secret")


async def endless(**_: Any) -> str:
    await asyncio.Event().wait()
    return ""


async def tired(**_: Any) -> str:
    raise TimeoutError


async def huge(**_: Any) -> str:
    return "x" * 1_000_000


async def number(**_: Any) -> Any:
    return 5


TOOLS = [Tool(tool.__name__, "", {}, tool) for tool in (broken, endless, tired, huge, number)]
TOOLS.append(Tool("strict", "", SCHEMA, broken))


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What a listener is told."""
    events: list[Any] = []
    telemetry.listen(events.append)
    yield events
    telemetry.stop_listening(0)


@pytest.mark.parametrize(
    ("name", "arguments", "result", "kind"),
    [
        ("absent", "{}", "error: there is no tool 'absent'", "unknown_tool"),
        ("broken", "{", "error: the arguments are not JSON", "bad_arguments"),
        ("broken", "[]", "error: the arguments are not an object", "bad_arguments"),
        ("strict", "{}", "error: wrong arguments: city is missing", "bad_arguments"),
        ("broken", "{}", "error: OSError", "OSError"),
        ("endless", "{}", "error: no result within 0.05 s", "TimeoutError"),
        ("tired", "{}", "error: TimeoutError", "TimeoutError"),
        ("huge", "{}", "error: the result has more than 200000 characters", "too_large"),
        ("number", "{}", "error: the result is no text", "TypeError"),
    ],
)
async def test_what_goes_wrong_with_a_tool(told: list[Any], name: str, arguments: str, result: str, kind: str) -> None:
    """I6, I7: the LLM is told in words that it can work with, listeners by its kind; of an exception nobody gets the text."""
    assert await call_tool(TOOLS, ToolCall("1", name, arguments), seconds=0.05, job=IDS) == result
    telemetry.flush(HANGS)
    (event,) = told
    assert (event.job, event.error) == (IDS, kind)
    assert event.tool == ("" if kind == "unknown_tool" else name)
    assert "secret" not in str(event)


async def test_a_call_that_is_broken_off_is_told_so(told: list[Any]) -> None:
    """By stop or a draining worker: the tool is cancelled, and nothing is made of it."""
    task = asyncio.create_task(call_tool(TOOLS, ToolCall("1", "endless", "{}"), seconds=HANGS, job=IDS))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    telemetry.flush(HANGS)
    assert [event.error for event in told] == ["cancelled"]


async def test_the_calls_of_a_round_run_side_by_side() -> None:
    """Each waits for the other; the results keep the order of the calls, and one that fails ends no other."""
    meeting = asyncio.Barrier(2)

    async def meet(name: str) -> str:
        await meeting.wait()
        return name

    tools = [Tool("meet", "", {"properties": {"name": {"type": "string"}}}, meet), *TOOLS]
    calls = [ToolCall(name, "meet", json.dumps({"name": name})) for name in ("a", "b")]
    async with asyncio.timeout(HANGS):
        results = await call_tools(tools, [calls[0], ToolCall("x", "broken", "{}"), calls[1]], seconds=HANGS)
    assert results == ["a", "error: OSError", "b"]


async def test_the_rounds_are_bounded() -> None:
    """I7: after so many rounds of calls an answer is given up, without calling the tools that nobody would hear of."""
    asked: list[str] = []

    async def again() -> str:
        asked.append("again")
        return "ok"

    calling: list[Step] = [ToolCall("c", "again", "{}"), Finish("tool_calls")]
    tools = [Tool("again", "", {"type": "object", "properties": {}}, again)]
    provider = Scripted(calling, calling, HELLO)
    call = call_of(provider, llm_tool_rounds=2)
    assert [text async for text in call.stream([], tools=tools)] == ["Hello"]
    assert (len(provider.requests), asked) == (3, ["again", "again"])
    asked.clear()
    provider = Scripted(calling)
    with pytest.raises(ProviderError, match="after 2 rounds"):
        _ = [text async for text in call_of(provider, llm_tool_rounds=2).stream([], tools=tools)]
    assert (len(provider.requests), asked) == (3, ["again", "again"])
