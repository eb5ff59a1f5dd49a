"""`cloudia restart`, and what else a script asks of a stack that runs: waiting until it is ready, its logs as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from cloudia.local.project import Project
from cloudia.local.restart import take_requests
from tests.cli.provider import ask_provider, quick, reply
from tests.cli.terminal import running, terminal
from tests.patience import HANGS
from tests.support import RunningStack, cli, eventually, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PARTS = ("worker-1", "gateway", "api", "llm", "redis", "engine", "collector")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack with two workers whose parts these tests start again."""
    started = start_stack(tmp_path_factory.mktemp("own"), "--workers", "2")
    yield started
    stop_stack(started)


def _pids(stack: RunningStack) -> dict[str, int]:
    run = stack.project.read_run()
    assert run
    return run.pids


@pytest.mark.parametrize("name", _PARTS)
def test_restart(name: str, own: RunningStack) -> None:
    """A part is ended and started again, and no other; when the verb returns it is ready, at the same URL."""
    before, page_url = _pids(own), own.page_url
    told = own.json("restart", name)
    after = _pids(own)
    assert told == {"restarted": [{"part": name, "previous_pid": before[name], "pid": after[name]}]}
    assert {part for part in before if before[part] != after[part]} == {name}
    assert not psutil.pid_exists(before[name])
    status = own.json("status", "--wait-for", "ready")
    assert status["parts"][name]["restarts"] == 0  # Those are the ones that nobody asked for.
    assert status["web_url"] == page_url
    reply(own.run, "Still here.")
    assert own.json("send", "hello")["reply"] == "Still here."


def test_restart_all_of_a_kind(own: RunningStack) -> None:
    """`restart worker` means every worker; for people there is a line for each."""
    before = _pids(own)
    shown = own.cli("restart", "worker")
    after = _pids(own)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == [
        f"{name} is ready again, as process {after[name]}" for name in ("worker-1", "worker-2")
    ]
    assert {part for part in before if before[part] != after[part]} == {"worker-1", "worker-2"}


async def test_a_job_outlives_the_restart_of_its_worker(own: RunningStack) -> None:
    """What a worker has under way is finished or handed back: the answer comes all the same (I1, I2)."""
    with quick(own.run, ttft=0.01, tps=40):
        asking = asyncio.create_task(asyncio.to_thread(own.json, "send", "[[words:40]] slow"))
        await eventually(lambda: ask_provider(own.run, "GET", "health")["in_flight"])
        await asyncio.to_thread(own.json, "restart", "worker")
        assert (await asking)["status"] == "done"


def test_two_restarts_at_once(own: RunningStack, tmp_path: Path) -> None:
    """Two who ask for the same part at the same moment both see it ready again."""
    with (
        running("restart", "llm", folder=own.folder, log=tmp_path / "1") as one,
        running("restart", "llm", folder=own.folder, log=tmp_path / "2") as other,
    ):
        assert (one.wait(HANGS), other.wait(HANGS)) == (0, 0)
    assert own.cli("status", "--wait-for", "ready").returncode == 0


def test_restart_of_an_unknown_part(own: RunningStack) -> None:
    """A part that does not exist exits 2, and the hint names those that do."""
    refused = own.cli("restart", "wroker", "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    error = json.loads(refused.stderr)["error"]
    assert error["message"] == "there is no part 'wroker'"
    assert error["hint"] == "There are engine, redis, llm, collector, api, gateway, worker-1, worker-2."


def test_a_part_that_does_not_come_back(own: RunningStack) -> None:
    """A part that is not ready in time exits 5 and says how it is; it is asked for all the same."""
    before = _pids(own)["llm"]
    os.kill(own.run["supervisor"]["pid"], signal.SIGSTOP)  # It cannot start anything now.
    try:
        late = own.cli("restart", "llm", "--timeout", "0.3", "--json")
        assert (late.returncode, late.stdout) == (5, "")
        assert "llm is not ready again within 0.3 s" in json.loads(late.stderr)["error"]["message"]
    finally:
        os.kill(own.run["supervisor"]["pid"], signal.SIGCONT)
    assert own.cli("restart", "llm").returncode == 0
    assert _pids(own)["llm"] != before


def test_requests_are_taken_once(tmp_path: Path) -> None:
    """A request is heeded once; where there is none, none is heeded."""
    assert take_requests(tmp_path) == set()
    (tmp_path / "restart").mkdir()
    (tmp_path / "restart" / "worker").touch()
    assert take_requests(tmp_path) == {"worker"}
    assert take_requests(tmp_path) == set()


# --- status --wait-for ----------------------------------------------------------------------------------------------------


def test_wait_for_ready(stack: RunningStack) -> None:
    """Where all is ready it returns at once, with what `status` shows."""
    assert stack.json("status", "--wait-for", "ready", "--timeout", "0")["state"] == "ready"
    assert "web page" in stack.cli("status", "--wait-for", "ready").stdout


async def test_wait_while_it_starts(tmp_path: Path) -> None:
    """A stack that is starting is waited for: too short a time exits 5 with what is missing, a longer one exits 0."""
    with running("up", folder=tmp_path, log=tmp_path / "log") as started:
        await eventually((tmp_path / ".cloudia" / "run.json").exists)
        late = cli("status", "--wait-for", "ready", "--timeout", "0", "--json", folder=tmp_path)
        assert (late.returncode, late.stdout) == (5, "")
        error = json.loads(late.stderr)["error"]
        assert error["code"] == "timed_out"
        assert error["message"].startswith("the stack is not ready within 0 s: ")
        ready = cli("status", "--wait-for", "ready", "--json", folder=tmp_path)
        assert json.loads(ready.stdout)["state"] == "ready"
        started.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(started.wait, 30) == 0
    gone = cli("status", "--wait-for", "ready", folder=tmp_path)
    assert gone.returncode == 3
    assert Project(tmp_path).read_run() is None


def test_what_cannot_be_waited_for(tmp_path: Path) -> None:
    """Anything but `ready` is a usage error."""
    refused = cli("status", "--wait-for", "lunch", folder=tmp_path)
    assert refused.returncode == 2
    assert "'lunch' is not one of 'ready'" in refused.stderr


# --- logs --json ----------------------------------------------------------------------------------------------------------


async def test_logs_as_json(stack: RunningStack) -> None:
    """`logs --json` is an object a line with the part's name first: our log lines as they are, any other as `line`."""
    reply(stack.run, "Logged.")
    job = stack.json("send", "hello logs")["job_id"]
    shown = stack.cli("logs", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    entries = [json.loads(line) for line in shown.stdout.splitlines()]
    assert all(next(iter(entry)) == "part" and ("event" in entry) != ("line" in entry) for entry in entries)
    ours = [entry for entry in entries if entry.get("job_id") == job]
    assert ("api", "job accepted") in [(entry["part"], entry["event"]) for entry in ours]
    assert ("worker", "job ended") in [(entry["part"], entry["event"]) for entry in ours]
    assert {"time", "level"} <= set(ours[0])
    assert all(entry["time"] for entry in entries)
    said = [entry["line"] for entry in entries if entry["part"] == "supervisor"]
    assert f"ready at {stack.run['web_url'].partition('?')[0]}" in said
    with terminal("logs", "worker", "--json", "-n", "1", folder=stack.folder) as drawn:
        assert await drawn.ends() == 0
        assert not drawn.coloured
        assert json.loads(drawn.text)["part"] == "worker"


async def test_logs_as_json_follow(stack: RunningStack, tmp_path: Path) -> None:
    """Followed, each object comes as its line does."""
    out = tmp_path / "out"
    with running("logs", "-f", "--json", "worker", "-n", "0", folder=stack.folder, log=out) as following:
        jobs = []

        def seen() -> bool:
            reply(stack.run, "Followed.")
            jobs.append(stack.json("send", "hello")["job_id"])
            return any(job in out.read_text() for job in jobs)

        await eventually(seen, every=0.2)
        following.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(following.wait, 10) == 130
    assert all(json.loads(line)["part"] == "worker" for line in out.read_text().splitlines())
