"""`cloudia status` and `cloudia logs` of a running stack."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

from tests.cli.provider import reply
from tests.cli.terminal import CTRL_C, running, terminal
from tests.support import RunningStack, eventually

if TYPE_CHECKING:
    from pathlib import Path

_PARTS = ["engine", "redis", "llm", "collector", "api", "gateway", "worker"]


def test_status_as_json(stack: RunningStack) -> None:
    """`status --json` tells each part's state, process, memory and restarts, and the health that the HTTP API tells."""
    told = stack.json("status")
    assert told["state"] == "ready"
    assert list(told["parts"]) == _PARTS
    for part in told["parts"].values():
        assert part["state"] == "ready"
        assert part["pid"]
        assert part["resident_bytes"] > 1_000_000
        assert part["restarts"] == 0
    assert told["supervisor"]["resident_bytes"] > 1_000_000
    assert told["health"]["status"] == "ok"
    assert told["parts"]["worker"]["pid"] in {worker["pid"] for worker in told["health"]["workers"]}
    assert "redis" in told["parts"]["redis"]["detail"].lower()
    assert any(character.isdigit() for character in told["parts"]["redis"]["detail"])


def test_status_for_people(stack: RunningStack) -> None:
    """`status` is a table with a line for each part, and the health below; without a terminal it has no colour."""
    shown = stack.cli("status")
    assert shown.returncode == 0
    assert shown.stderr == ""
    assert "\x1b" not in shown.stdout
    lines = shown.stdout.splitlines()
    for name in ("supervisor", *_PARTS):
        assert any(line.startswith(name) and " ready " in line and " MB " in line for line in lines)
    assert "health ok · 1 workers · 1 gateways" in lines
    assert f"web page {stack.page_url}" in lines


async def test_status_in_a_terminal(stack: RunningStack) -> None:
    """In a terminal the states are coloured; NO_COLOR is honoured."""
    with terminal("status", folder=stack.folder) as shown:
        assert await shown.ends() == 0
        assert shown.coloured
        assert "web page" in shown.text
    with terminal("status", folder=stack.folder, NO_COLOR="1") as shown:
        assert await shown.ends() == 0
        assert not shown.coloured


async def test_json_in_a_terminal_and_piped(stack: RunningStack) -> None:
    """A JSON document is one line where a program reads it, and indented where a person does."""
    assert stack.cli("status", "--json").stdout.count("\n") == 1
    with terminal("status", "--json", folder=stack.folder) as shown:
        assert await shown.ends() == 0
        assert not shown.coloured
        assert json.loads(shown.text)["state"] == "ready"
        assert shown.text.count("\n") > 10


def test_logs_of_all_parts(stack: RunningStack) -> None:
    """`logs` prints the last lines of every part in the order of their times, readable, without colour when piped."""
    reply(stack.run, "Logged.")
    job = stack.json("send", "hello logs")["job_id"]
    shown = stack.cli("logs")
    assert shown.returncode == 0
    assert shown.stderr == ""
    assert "\x1b" not in shown.stdout
    accepted = next(line for line in shown.stdout.splitlines() if "job accepted" in line and job in line)
    ended = next(line for line in shown.stdout.splitlines() if "job ended" in line and job in line)
    assert accepted.split()[1] == "api"
    assert ended.split()[1] == "worker"
    assert shown.stdout.index(accepted) < shown.stdout.index(ended)
    assert "status=done" in ended
    assert "hello logs" not in shown.stdout
    assert "Logged." not in shown.stdout


def test_logs_of_a_part(stack: RunningStack) -> None:
    """A part can be named, and `-n` says how many lines to begin with."""
    lines = stack.cli("logs", "worker", "-n", "1").stdout.splitlines()
    assert len(lines) == 1
    assert " worker " in lines[0]
    assert stack.cli("logs", "worker", "-n", "0").stdout == ""
    assert " supervisor ready at " in stack.cli("logs", "supervisor").stdout


def test_logs_of_an_unknown_part(stack: RunningStack) -> None:
    """A part that does not exist exits 2, and the hint names those that do."""
    shown = stack.cli("logs", "wroker", "--json")
    assert shown.returncode == 2
    shown = stack.cli("logs", "wroker")
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert "'wroker'" in shown.stderr
    assert all(name in shown.stderr for name in _PARTS)


async def test_logs_follow_in_a_terminal(stack: RunningStack) -> None:
    """`logs -f` goes on as lines come, in colour, until Ctrl-C, which exits 130 without a traceback."""
    with terminal("logs", "-f", "worker", folder=stack.folder) as shown:
        await shown.shows(" worker ")
        reply(stack.run, "Followed.")
        await shown.shows(stack.json("send", "hello")["job_id"])
        assert shown.coloured
        shown.type(CTRL_C)
        assert await shown.ends() == 130
        assert "Traceback" not in shown.text


async def test_logs_follow_when_piped(stack: RunningStack, tmp_path: Path) -> None:
    """Piped, followed lines arrive as they come too, and SIGINT exits 130."""
    out = tmp_path / "out"
    with running("logs", "--follow", "worker", folder=stack.folder, log=out) as following:
        await eventually(lambda: " worker " in out.read_text())
        reply(stack.run, "Followed.")
        job = stack.json("send", "hello")["job_id"]
        await eventually(lambda: job in out.read_text())
        following.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(following.wait, 10) == 130
    assert "Traceback" not in out.read_text()


def test_logs_of_one_message(stack: RunningStack) -> None:
    """`--job` and `--trace` join the lines of a message over its parts, and no other's, however long ago they were."""
    reply(stack.run, "first", "second")
    mine, other = (stack.json("send", "hello") for _ in range(2))
    lines = [json.loads(line) for line in stack.cli("logs", "--job", mine["job_id"], "--json").stdout.splitlines()]
    assert {line["part"] for line in lines} >= {"api", "worker"}
    assert {line["job_id"] for line in lines} == {mine["job_id"]}
    trace_id = next(line["trace_id"] for line in lines if "trace_id" in line)
    joined = stack.cli("logs", "--trace", trace_id).stdout
    assert f"job_id={mine['job_id']}" in joined
    assert other["job_id"] not in joined
    assert stack.cli("logs", "--job", "job_none", "--json").stdout == ""
