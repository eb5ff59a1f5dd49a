"""What requests said, kept where it is asked for, bounded, and told by the control endpoint alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloudia.sim.llm.kept import MAX_BYTES, Kept
from cloudia.sim.llm.prompts import Prompt, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sim.llm.conftest import Chat, Server


@pytest.fixture
def keeping(server: Server) -> Iterator[Server]:
    """A provider that keeps the last three requests."""
    server.post("prompts", keep=3)
    yield server
    server.post("prompts", keep=0)


def _prompts(server: Server) -> list[dict[str, Any]]:
    prompts: list[dict[str, Any]] = server.get("prompts")["prompts"]
    return prompts


def test_nothing_is_kept_unasked(chat: Chat) -> None:
    """A provider that nobody asked keeps no text of a message."""
    chat.ask("secret")
    assert chat.server.get("prompts") == {"keep": 0, "prompts": []}


@pytest.mark.parametrize("stream", [False, True])
def test_both_vendors_are_told_alike(chat: Chat, keeping: Server, *, stream: bool) -> None:
    """System prompt, turns and tools are the same for both vendors; the body is as it was sent."""
    schema: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
    if chat.sdk == "openai":
        tool: Any = {"type": "function", "function": {"name": "weather", "parameters": schema}}
        said = [{"role": "system", "content": "Be brief."}]
        more: dict[str, Any] = {"tools": [tool]}
    else:
        tool = {"name": "weather", "input_schema": schema}
        said = []
        more = {"tools": [tool], "system": "Be brief."}
    turns = [
        {"role": "user", "content": "my parrot is called Humboldt 🦜"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": 'and "now"?\n'},
    ]
    chat.ask([*said, *turns], stream=stream, **more)
    (record,) = keeping.ended()
    (kept,) = _prompts(keeping)
    assert kept["sequence"] == record["sequence"]
    assert kept["messages"] == [{"role": "system", "content": "Be brief."}, *turns]
    assert kept["tools"] == ["weather"]
    assert (kept["body"]["model"], kept["body"]["tools"]) == ("sim-large", [tool])
    assert kept["body"]["messages"] == [*said, *turns]


def test_also_of_what_fails(chat: Chat, keeping: Server) -> None:
    """A request that a fault strikes is kept like any other; one that is refused said nothing that could be read."""
    keeping.fault("status", status=400, count=1)
    with pytest.raises(chat.errors.BadRequestError):
        chat.ask("struck")
    with pytest.raises(chat.errors.BadRequestError):
        chat.ask([])
    assert [kept["messages"][-1]["content"] for kept in _prompts(keeping)] == ["struck"]


def test_the_last_are_kept(chat: Chat, keeping: Server) -> None:
    """The oldest go first; deleting forgets all and goes on keeping; no text is in the log or among the requests."""
    for number in range(5):
        chat.ask(f"secret {number}")
    assert [kept["messages"][-1]["content"] for kept in _prompts(keeping)] == ["secret 2", "secret 3", "secret 4"]
    assert keeping.delete("prompts") == {"deleted": 3}
    assert _prompts(keeping) == []
    chat.ask("secret 5")
    assert len(_prompts(keeping)) == 1
    assert "secret" not in keeping.http.get("/_cloudia/requests").text + keeping.log.read_text()
    keeping.post("prompts", keep=0)
    assert _prompts(keeping) == []


def test_their_memory_is_bounded() -> None:
    """However large they are, no more than 16 MB are held; one that is larger by itself is not."""
    kept = Kept()
    kept.set({"keep": 1_000})
    body = b'{"x":"%b"}' % (b"x" * (3 * 1024 * 1024))
    for sequence in range(20):
        kept.add(sequence, Prompt("m", (Turn("user", "hello"),)), body)
    assert len(kept.to_json()) <= MAX_BYTES + 100
    assert kept.clear() == 5
    kept.add(20, Prompt("m", (Turn("user", "x" * MAX_BYTES),)), b"{}")
    assert kept.to_json() == b'{"keep":1000,"prompts":[]}'


@pytest.mark.parametrize("body", [{}, {"keep": -1}, {"keep": 1_001}, {"keep": "3"}, {"keep": 3, "more": 1}])
def test_bad_input(keeping: Server, body: dict[str, Any]) -> None:
    """What is no number of requests is refused, and what was kept stays."""
    refused = keeping.http.post("/_cloudia/prompts", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["hint"]
    assert keeping.get("prompts") == {"keep": 3, "prompts": []}
