"""A whole stack under its supervisor: what it shows of itself, and what happens when a part of it dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from cloudia.local.project import Project
from cloudia.stack import Stack
from tests.cli.provider import ask_provider, reply
from tests.local.leftovers import Leftovers
from tests.support import RunningStack, cli, eventually, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEY = "sk-test-0123456789abcdefWXYZ"
_TEXT = "a sentence that nobody else writes"
_PARTS = ("worker", "gateway", "api", "llm", "redis", "engine", "collector")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that these tests may break, with an API key in its environment. Nothing of it is left in the end."""
    folder, temporary = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("tmp")
    running = start_stack(folder, "--llm", "sim", TMPDIR=str(temporary), OPENAI_API_KEY=_KEY)
    yield running
    stack = Leftovers(_status(running), temporary=temporary)
    stop_stack(running)
    asyncio.run(stack.gone())


def _status(stack: RunningStack) -> dict[str, Any]:
    run = stack.project.read_run()
    assert run
    return run.to_json()


def _send(stack: RunningStack, text: str = "hello") -> str:
    reply(stack.run, "Still here.")
    answer: str = stack.json("send", text, OPENAI_API_KEY=_KEY)["reply"]
    return answer


# --- at rest ------------------------------------------------------------------------------------------------------------


def test_loopback_only(own: RunningStack) -> None:
    """Every socket that a part listens on is on loopback, and there are no more of them than there are servers."""
    listening: dict[str, set[str]] = {}
    for name, pid in own.run["pids"].items():
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        sockets = [each for process in processes for each in process.net_connections("all")]
        listening[name] = {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}
    assert listening.pop("worker") == set()
    assert listening == {name: {"127.0.0.1"} for name in _PARTS[1:]}
    assert not [
        each for each in psutil.Process(own.run["supervisor"]["pid"]).net_connections() if each.status == "LISTEN"
    ]


def test_everything_is_the_owners(own: RunningStack) -> None:
    """`.cloudia` is readable by its owner only, and so are the secrets and `run.json` in it."""
    state = own.folder / ".cloudia"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (state, *state.iterdir())}
    assert modes[".cloudia"] == 0o700
    assert modes["secrets.json"] == modes["run.json"] == 0o600
    assert modes["logs"] == 0o700


async def test_no_secret_and_no_text_is_written(own: RunningStack) -> None:
    """I6: neither an API key, nor a secret of the stack, nor a message's text is in `run.json`, the logs or the output."""
    assert _send(own, _TEXT) == "Still here."
    refused = own.cli("send", _TEXT, "--conversation", "cnv_none", OPENAI_API_KEY=_KEY)
    assert refused.returncode == 2
    ask_provider(own.run, "POST", "faults", kind="status", status=400, count=1)
    assert own.cli("send", _TEXT).returncode == 1
    written = [
        *(path.read_text() for path in (own.folder / ".cloudia" / "logs").iterdir()),
        (own.folder / ".cloudia" / "run.json").read_text(),
        own.cli("status", "--json", OPENAI_API_KEY=_KEY).stdout,
        own.cli("config", OPENAI_API_KEY=_KEY).stdout,
        own.cli("doctor", OPENAI_API_KEY=_KEY).stdout,
        own.cli("logs").stdout,
        json.dumps(own.run),
    ]
    secrets = asdict(own.project.secrets())
    del secrets["page"]  # It is in the page's address, which is for whoever may read that.
    for hidden in (_KEY, *secrets.values(), _TEXT, "Still here."):
        assert not [text for text in written if hidden in text]


def test_two_stacks_side_by_side(own: RunningStack, stack: RunningStack) -> None:
    """Two stacks in two folders share nothing: no process, no URL, no conversation, no secret."""
    assert not set(own.run["pids"].values()) & set(stack.run["pids"].values())
    urls = ("api_url", "websocket_url", "aws_endpoint_url", "redis_url", "llm_url")
    assert not {own.run[name] for name in urls} & {stack.run[name] for name in urls}
    _send(own)
    ours = own.json("conversations", "list")["conversations"]
    theirs = stack.json("conversations", "list")["conversations"]
    assert ours
    assert not {entry["conversation_id"] for entry in ours} & {entry["conversation_id"] for entry in theirs}
    refused = own.cli("conversations", "list", CLOUDIA_TOKEN=stack.token())
    assert refused.returncode == 4


# --- a part dies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", _PARTS)
async def test_a_part_that_dies(name: str, own: RunningStack) -> None:
    """A part that is killed is started again and shown, at the same URL; messages are answered as before."""
    before = _status(own)
    os.kill(before["pids"][name], signal.SIGKILL)

    def back() -> dict[str, Any] | None:
        run = _status(own)
        part = run["parts"][name]
        return run if part["restarts"] == 1 and part["state"] == "ready" and run["state"] == "ready" else None

    after = await eventually(back)
    assert after["pids"][name] != before["pids"][name]
    assert {part: pid for part, pid in after["pids"].items() if part != name} == {
        part: pid for part, pid in before["pids"].items() if part != name
    }
    assert [after[url] for url in ("api_url", "websocket_url", "redis_url", "llm_url", "aws_endpoint_url")] == [
        before[url] for url in ("api_url", "websocket_url", "redis_url", "llm_url", "aws_endpoint_url")
    ]
    assert _send(own) == "Still here."
    shown = own.json("status")
    assert (shown["parts"][name]["state"], shown["parts"][name]["restarts"]) == ("ready", 1)
    await eventually(lambda: own.json("status")["health"]["status"] == "ok", every=0.2)


def test_an_engine_that_came_back_is_provisioned(own: RunningStack) -> None:
    """After the engine's restart, all that it had forgotten is there again, and that it has is told."""
    assert "the engine was started again, empty" in (own.folder / ".cloudia" / "logs" / "supervisor.log").read_text()
    told = own.json("provision", CLOUDIA_OPENAI_API_KEY="simulated", CLOUDIA_ANTHROPIC_API_KEY="simulated")
    assert {entry["action"] for entry in told["resources"]} == {"unchanged"}
    definition = Stack(own.run["stack_name"])
    # The keys of a provider are not the engine's to hold, whatever the environment has.
    parameters = set(definition.parameters) - set(definition.api_keys.values())
    assert len(told["resources"]) == sum(map(len, (definition.queues, definition.tables, parameters)))


# --- the supervisor dies ------------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """When the supervisor is killed its parts end too; no verb trusts what it noted, and the next `up` cleans up."""
    folder, temporary = tmp_path / "project", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    first = start_stack(folder, TMPDIR=str(temporary))
    left = Leftovers(first.run)
    os.kill(first.run["supervisor"]["pid"], signal.SIGKILL)
    await left.gone()
    assert list(temporary.glob("cloudia-*"))
    for verb in (["status"], ["send", "hello"], ["conversations", "list"]):
        assert cli(*verb, folder=folder).returncode == 3

    again = start_stack(folder, TMPDIR=str(temporary))
    assert again.run["supervisor"] != first.run["supervisor"]
    assert len(list(temporary.glob("cloudia-*"))) == 1
    reply(again.run, "Anew.")
    assert again.json("send", "hello")["reply"] == "Anew."

    left = Leftovers(again.run, temporary=temporary)
    os.kill(again.run["supervisor"]["pid"], signal.SIGKILL)
    await left.gone_processes()
    stop_stack(again)
    await left.gone()
    assert Project(folder).read_run() is None


# --- what is kept -------------------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_persist(tmp_path: Path) -> None:
    """With `--persist` conversations and jobs are there after `down` and `up`; without it nothing is kept."""
    running = start_stack(tmp_path, "--persist")
    reply(running.run, "Kept.")
    sent = running.json("send", "keep this")
    stop_stack(running)

    running = start_stack(tmp_path, "--persist")
    page = running.json("conversations", "show", sent["conversation_id"])
    assert [message["content"] for message in page["messages"]] == ["keep this", "Kept."]
    async with running.client() as client:
        job = await client.api.job(sent["job_id"])
    assert (job["status"], job["reply"]["content"]) == ("done", "Kept.")
    told = running.json("provision", CLOUDIA_OPENAI_API_KEY="simulated", CLOUDIA_ANTHROPIC_API_KEY="simulated")
    assert {entry["action"] for entry in told["resources"]} == {"unchanged"}
    reply(running.run, "Kept too.")
    again = running.json("send", "and this", "--conversation", sent["conversation_id"])
    assert again["reply"] == "Kept too."
    stop_stack(running)

    running = start_stack(tmp_path)
    try:
        assert running.json("conversations", "list")["conversations"] == []
    finally:
        stop_stack(running)


@pytest.mark.long
async def test_persist_over_an_engine_that_is_killed(tmp_path: Path) -> None:
    """With `--persist` an engine that is killed has what was recorded until some seconds before, and nothing is made anew."""
    running = start_stack(tmp_path, "--persist")
    try:
        reply(running.run, "Kept.")
        sent = running.json("send", "keep this")
        kept = tmp_path / ".cloudia" / "data" / "ministack" / "dynamodb.json"
        await eventually(lambda: kept.exists() and "Kept." in kept.read_text())
        before = running.json("status")["parts"]["engine"]["pid"]
        os.kill(before, signal.SIGKILL)

        def again() -> bool:
            now = running.json("status")
            return bool(now["state"] == "ready" and now["parts"]["engine"]["pid"] != before)

        await eventually(again)
        page = running.json("conversations", "show", sent["conversation_id"])
        assert [message["content"] for message in page["messages"]] == ["keep this", "Kept."]
        said = (tmp_path / ".cloudia" / "logs" / "supervisor.log").read_text()
        assert "24 resources, 0 of them changed" in said
        assert "started again, with what it has saved" in said
    finally:
        stop_stack(running)
