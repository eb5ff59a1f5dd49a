"""What a stack ends with, and what it outlives: its folder, its terminal, the command that it was started for."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from cloudia.local.chaos import Chaos
from cloudia.local.health import look
from cloudia.local.project import Project
from tests.local.leftovers import Leftovers
from tests.patience import HANGS
from tests.support import CLI, RunningStack, clean_environment, cli, eventually, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of this file's own."""
    running = start_stack(tmp_path_factory.mktemp("own"))
    yield running
    stop_stack(running)


# --- it is known by its lock ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-60, 60])
def test_a_clock_that_is_set(step: int, own: RunningStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a minute, forwards or back: what the system then says of every start is off by it, and nothing is told to be gone."""
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create_time(process) + step)
    seen = look(own.project)
    assert seen.run.state == "ready"
    assert all(seen.resident_bytes.values())
    assert seen.supervisor_bytes
    assert own.project.require_run().supervisor.alive
    assert Chaos(own.project.require_run()).processes("worker")


async def test_a_note_that_is_deleted(own: RunningStack) -> None:
    """Without `run.json` alone the stack is found again at once, for its supervisor notes it anew."""
    (own.folder / ".cloudia" / "run.json").unlink()
    await eventually(lambda: own.cli("status").returncode == 0)
    assert own.json("status")["supervisor"]["pid"] == own.run["supervisor"]["pid"]


def test_a_copy_of_its_folder(own: RunningStack, tmp_path: Path) -> None:
    """Nothing runs there; `down` stops nothing, and a stack that is started there is another one."""
    copy = tmp_path / "copy"
    shutil.copytree(own.folder, copy)
    assert cli("status", folder=copy).returncode == 3
    assert json.loads(cli("down", "--json", folder=copy).stdout) == {"stopped": False}
    other = start_stack(copy)
    try:
        assert other.run["supervisor"] != own.run["supervisor"]
        assert other.run["api_url"] != own.run["api_url"]
    finally:
        stop_stack(other)
    assert own.json("status")["state"] == "ready"


def _in_another_namespace(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where process ids are others, as in a container into which the folder is mounted."""
    return subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *CLI, *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )


def _can_unshare() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(command, check=False, capture_output=True).returncode
    )


@pytest.mark.skipif(not _can_unshare(), reason="no leave to make a namespace of processes")
def test_another_namespace_of_processes(own: RunningStack) -> None:
    """`status` and `up` tell what runs; what would need a process id is refused; nothing is forgotten or started twice."""
    told = _in_another_namespace("status", "--json", folder=own.folder)
    assert json.loads(told.stdout)["supervisor"]["pid"] == own.run["supervisor"]["pid"]
    again = _in_another_namespace("up", "--detach", "--json", folder=own.folder)
    assert json.loads(again.stdout)["supervisor"]["pid"] == own.run["supervisor"]["pid"]
    for verb in ("down", "restart worker", "chaos worker kill"):
        refused = _in_another_namespace(*verb.split(), "--json", folder=own.folder)
        assert (refused.returncode, json.loads(refused.stderr)["error"]["code"]) == (4, "out_of_reach")
    assert own.json("status")["state"] == "ready"


# --- it is found again ---------------------------------------------------------------------------------------------------


def test_its_ports_stay(tmp_path: Path) -> None:
    """Started again it is at the same URLs, whatever its engine forgot; where another has a port, that is told."""
    urls = ("api_url", "websocket_url", "web_url", "aws_endpoint_url", "redis_url", "llm_url")
    first = start_stack(tmp_path)
    stop_stack(first)
    port = int(first.run["websocket_url"].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        started = cli("up", "--detach", folder=tmp_path)
        assert f"{port} (gateway)" in started.stderr
        stop_stack(RunningStack(tmp_path, {}))
    again = start_stack(tmp_path)
    stop_stack(again)
    assert [again.run[url].partition("?")[0] for url in urls] == [first.run[url].partition("?")[0] for url in urls]


# --- it ends with its folder ---------------------------------------------------------------------------------------------


def _cleaned(folder: Path) -> None:
    shutil.rmtree(folder / ".cloudia")  # What `git clean -fdx` does.


def _moved(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


@pytest.mark.parametrize("what", [_cleaned, _moved, shutil.rmtree])
async def test_its_folder_goes(what: Callable[[Path], Any], tmp_path: Path) -> None:
    """No verb would find the stack any more, so it ends: every process, port and temporary file; another may begin there."""
    folder, temporary = tmp_path / "project", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    running = start_stack(folder, TMPDIR=str(temporary))
    left = Leftovers(running.run, temporary=temporary)
    what(folder)
    await left.gone()
    for place in folder, folder.with_name("moved"):
        if place.exists():
            assert cli("status", folder=place).returncode == 3
            assert cli("down", folder=place).returncode == 0


# --- it ends with its owner, or outlives it -------------------------------------------------------------------------------


async def test_a_drill_that_is_killed(tmp_path: Path) -> None:
    """Its stack ends with it, and nothing is left in the temporary folder."""
    drill = subprocess.Popen(  # noqa: ASYNC220 - it is killed
        [*CLI, "drill", "--jobs", "5000", "--only", "order"],
        cwd=tmp_path,
        env=clean_environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        run = await eventually(lambda: _ready_in(tmp_path))
        left = Leftovers(run, temporary=tmp_path)
    finally:
        drill.kill()
        drill.wait()
    await left.gone_processes()
    await eventually(lambda: not list(tmp_path.glob("cloudia-*")))


def _ready_in(temporary: Path) -> dict[str, Any] | None:
    """Return what a drill's stack has noted, once it is ready."""
    for state in temporary.glob("cloudia-drill-*"):
        run = Project(state).live_run()
        return run.to_json() if run and run.state == "ready" else None
    return None


async def test_a_pause_that_is_killed(own: RunningStack) -> None:
    """What `chaos` has stopped goes on when the command is killed."""
    redis = psutil.Process(own.run["pids"]["redis"])
    pausing = subprocess.Popen(  # noqa: ASYNC220 - it is killed
        [*CLI, "chaos", "redis", "pause", "--for", "600s"], cwd=own.folder, env=clean_environment()
    )
    try:
        await eventually(lambda: redis.status() == psutil.STATUS_STOPPED)
    finally:
        pausing.kill()
        pausing.wait()
    await eventually(lambda: redis.status() != psutil.STATUS_STOPPED)


@pytest.mark.parametrize("nohup", [True, False])
async def test_a_terminal_that_hangs_up(nohup: bool, tmp_path: Path) -> None:
    """`nohup cloudia up &` goes on, as nohup promises; without it the stack ends with its terminal."""
    up = subprocess.Popen(  # noqa: ASYNC220 - it is a terminal's
        [*(["nohup"] if nohup else []), *CLI, "up"],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    project = Project(tmp_path)
    try:
        await eventually(lambda: (run := project.live_run()) and run.is_up)
        left = Leftovers(project.require_run().to_json())
        os.killpg(up.pid, signal.SIGHUP)
        if nohup:
            assert json.loads(cli("send", "hello", "--json", folder=tmp_path).stdout)["status"] == "done"
            assert cli("down", folder=tmp_path).returncode == 0
        await left.gone()
    finally:
        up.terminate()
        await asyncio.to_thread(up.wait, HANGS)
