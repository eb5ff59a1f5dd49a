"""`cloudia up` and `cloudia down`, in a terminal and without one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.local.project import Project
from tests.cli.provider import ask_provider, reply
from tests.cli.terminal import CTRL_C, terminal
from tests.local.leftovers import Leftovers
from tests.patience import HANGS
from tests.support import CLI, RunningStack, clean_environment, cli, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROMISED = {"api_url", "websocket_url", "web_url", "aws_endpoint_url", "redis_url", "llm_url", "engine", "pids"}
_PARTS = ("engine", "redis", "llm", "collector", "api", "gateway", "worker")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A folder for temporary folders, to find those that are left behind."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder."""
    made = tmp_path / "project"
    made.mkdir()
    return made


def _run(folder: Path) -> dict[str, Any]:
    run = Project(folder).read_run()
    assert run
    return run.to_json()


def _left(temporary: Path) -> list[Path]:
    return list(temporary.glob("cloudia-*"))


def _get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=HANGS) as response:
        status: int = response.status
        return status


@contextmanager
def _started(*arguments: str, folder: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start `cloudia` with pipes, and end it with the block."""
    process = subprocess.Popen(
        [*CLI, *arguments],
        cwd=folder,
        env=clean_environment(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=HANGS)


def _says(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=HANGS)
    return process.returncode, out, err


# --- in the foreground --------------------------------------------------------------------------------------------------


async def test_up_in_a_terminal(folder: Path, temporary: Path) -> None:
    """In a terminal `up` draws each part as it comes up, prints the URLs, then the logs; Ctrl-C leaves nothing behind."""
    with terminal("up", folder=folder, TMPDIR=str(temporary)) as shown:
        await shown.shows("Logs follow.")
        run = _run(folder)
        for name in _PARTS:
            assert name in shown.text
        assert "MiniStack" in shown.text
        assert f"web page   {run['web_url']}?code=" in shown.text
        assert f"WebSocket  {run['websocket_url']}" in shown.text
        assert shown.coloured
        assert len(_left(temporary)) == 1
        assert await asyncio.to_thread(_get, run["web_url"]) == 200

        reply(run, "Hello.")
        sent = cli("send", "hello there", "--json", folder=folder)
        assert json.loads(sent.stdout)["reply"] == "Hello."
        logged = await shown.shows("job accepted", "job ended", "status=done")
        assert "hello there" not in logged

        stack = Leftovers(run, temporary=temporary)
        shown.type(CTRL_C)
        assert await shown.ends() == 0
        assert "Traceback" not in shown.text
        assert "stopped" in shown.text
        await stack.gone()
    assert not (folder / ".cloudia" / "run.json").exists()


async def test_a_second_ctrl_c(folder: Path, temporary: Path) -> None:
    """While a worker finishes its job, a second Ctrl-C ends everything at once, and leaves nothing behind either."""
    environment = {"TMPDIR": str(temporary), "CLOUDIA_WORKER_GRACE_SECONDS": "60", "NO_COLOR": "1"}
    with terminal("up", folder=folder, **environment) as shown:
        await shown.shows("Logs follow.")
        assert not shown.coloured
        run = _run(folder)
        stack = Leftovers(run, temporary=temporary)
        ask_provider(run, "POST", "faults", kind="hang")
        assert cli("send", "hello", "--no-wait", folder=folder).returncode == 0
        await eventually(lambda: ask_provider(run, "GET", "health")["in_flight"])
        shown.type(CTRL_C)
        await shown.shows("finishing")
        began = time.monotonic()
        shown.type(CTRL_C)
        assert await shown.ends() == 0
        assert time.monotonic() - began < 5
        await stack.gone()


async def test_up_without_a_terminal(folder: Path, temporary: Path) -> None:
    """Piped, `up --json` prints one document when all is ready, plain lines go to stderr, and SIGTERM exits 0."""
    with _started("up", "--json", folder=folder, TMPDIR=str(temporary)) as process:
        assert process.stdout
        told = json.loads(await asyncio.to_thread(process.stdout.readline))
        assert set(told) >= _PROMISED
        assert told["state"] == "ready"
        stack = Leftovers(told, temporary=temporary)

        refused = cli("up", folder=folder)
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: a stack is running here already\nhint: ")
        assert refused.stdout == ""
        assert _run(folder)["supervisor"] == told["supervisor"]

        process.send_signal(signal.SIGTERM)
        code, out, err = await asyncio.to_thread(_says, process)
        assert (code, out, err) == (0, "", "")
        await stack.gone()


async def test_lines_without_a_terminal(folder: Path) -> None:
    """Piped, a start is told in a plain line for each state; the URLs alone go to stdout."""
    with _started("up", "--workers", "2", folder=folder) as process:
        assert process.stdout
        # Line by line: what is read of a pipe and kept for the next line is none of `communicate`.
        said = [await asyncio.to_thread(process.stdout.readline) for _ in range(6)]
        assert said[0].startswith("ready after ")
        assert json.loads(cli("status", "--json", folder=folder).stdout)["health"]["status"] == "ok"
        assert {"worker-1", "worker-2"} <= set(_run(folder)["pids"])
        process.send_signal(signal.SIGHUP)
        code, out, err = await asyncio.to_thread(_says, process)
    assert code == 0
    assert "\x1b" not in "".join(said) + err
    assert out == ""
    for name in ("engine", "redis", "llm", "collector", "api", "gateway", "worker-1", "worker-2"):
        assert f"● {name:<10} ready" in err
        assert f"○ {name:<10} stopped" in err


# --- detached -----------------------------------------------------------------------------------------------------------


def test_what_up_tells(stack: RunningStack) -> None:
    """`up --detach --json` tells the URLs, the engine and the processes, after every part was really asked."""
    assert set(stack.run) >= _PROMISED
    assert set(stack.run["pids"]) == set(_PARTS)
    assert {part["state"] for part in stack.run["parts"].values()} == {"ready"}


def test_up_on_a_running_stack(stack: RunningStack) -> None:
    """`up --detach` on a running stack says so, tells where it is and exits 0; nothing is started."""
    again = stack.cli("up", "--detach", "--json")
    assert again.returncode == 0
    assert again.stderr == "a stack is running here already\n"
    told = json.loads(again.stdout)
    assert told["pids"] == stack.run["pids"]
    assert told["supervisor"] == stack.run["supervisor"]

    again = stack.cli("up", "--detach")
    assert again.returncode == 0
    assert stack.page_url in again.stdout
    quiet = stack.cli("--quiet", "up", "--detach")
    assert quiet.stderr == ""


@pytest.mark.long
async def test_two_ups_at_the_same_moment(folder: Path, temporary: Path) -> None:
    """Of two `up --detach` at one moment, one starts the stack and both exit 0 with the same one."""
    environment = {"TMPDIR": str(temporary)}
    with (
        _started("up", "--detach", "--json", folder=folder, **environment) as one,
        _started("up", "--detach", "--json", folder=folder, **environment) as other,
    ):
        ends = await asyncio.gather(asyncio.to_thread(_says, one), asyncio.to_thread(_says, other))
    try:
        assert [code for code, _, _ in ends] == [0, 0], ends
        first, second = (json.loads(out) for _, out, _ in ends)
        assert first["pids"] == second["pids"]
        assert first["supervisor"] == second["supervisor"]
        assert len(_left(temporary)) == 1
        assert "ready at " in (folder / ".cloudia" / "logs" / "supervisor.log").read_text()
        stack = Leftovers(first, temporary=temporary)
        again = cli("up", "--detach", "--json", folder=folder)
        assert json.loads(again.stdout)["supervisor"] == first["supervisor"]
    finally:
        down = cli("down", "--json", folder=folder)
    assert json.loads(down.stdout) == {"stopped": True}
    await stack.gone()


def test_down_twice(folder: Path) -> None:
    """`down` where nothing runs says so, and exits 0 all the same."""
    for _ in range(2):
        again = cli("down", folder=folder)
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "no stack is running here\n")
    again = cli("down", "--json", folder=folder)
    assert (json.loads(again.stdout), again.stderr) == ({"stopped": False}, "")
    assert not (folder / ".cloudia").exists()


async def test_ctrl_c_while_it_starts(folder: Path, temporary: Path) -> None:
    """Ctrl-C during `up --detach` exits 130 and takes what had started with it."""
    with terminal("up", "--detach", folder=folder, TMPDIR=str(temporary)) as shown:
        await shown.shows("engine")
        run = _run(folder)
        shown.type(CTRL_C)
        assert await shown.ends() == 130
        assert "Traceback" not in shown.text
    assert run["pids"]
    await eventually(lambda: not any(map(_alive, [run["supervisor"]["pid"], *run["pids"].values()])))
    assert not _left(temporary)
    assert cli("status", folder=folder).returncode == 3


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- mistakes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detach", [[], ["--detach"]], ids=["foreground", "detached"])
def test_a_port_that_is_taken(detach: list[str], folder: Path) -> None:
    """A port that is taken exits 2 and is named; nothing stays."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = cli("up", *detach, "--port", str(port), folder=folder)
        assert refused.returncode == 2
        assert refused.stdout == ""
        assert f"error: port {port} is taken\n" in refused.stderr
        assert "hint: " in refused.stderr
        refused = cli("up", *detach, "--json", folder=folder, environment={"CLOUDIA_GATEWAY_PORT": str(port)})
        assert refused.returncode == 2
        assert f"port {port} is taken" in json.loads(refused.stderr)["error"]["message"]
    assert cli("status", folder=folder).returncode == 3


_MISTAKES = [
    ({"CLOUDIA_UP_ENGINE": "endpoint"}, 2, "the engine `endpoint` has no URL"),
    ({"CLOUDIA_UP_ENGINE": "endpoint", "AWS_ENDPOINT_URL": "nonsense"}, 2, "'nonsense' is not a URL of AWS"),
    (
        {"CLOUDIA_UP_ENGINE": "endpoint", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        1,
        "no engine answers at http://127.0.0.1:9",
    ),
    ({"REDIS_URL": "nonsense"}, 2, "redis.url is not a URL of Redis"),
    ({"REDIS_URL": "redis://127.0.0.1:9/0"}, 1, "no Redis answers at redis://127.0.0.1:9/0"),
    ({"REDIS_URL": "redis://:hidden@127.0.0.1:9/0"}, 1, "no Redis answers at redis://:••••@127.0.0.1:9/0"),
    ({"CLOUDIA_UP_LLM": "gpt"}, 2, "'gpt' is no LLM"),
    ({"CLOUDIA_UP_LLM": "anthropic"}, 2, "there is no API key of anthropic"),
]


@pytest.mark.parametrize(("environment", "code", "message"), _MISTAKES, ids=[mistake[2] for mistake in _MISTAKES])
def test_mistakes(environment: dict[str, str], code: int, message: str, folder: Path) -> None:
    """What cannot work ends soon, with one sentence and a hint, in the foreground and detached alike; nothing stays."""
    for detach in ([], ["--detach"]):
        refused = cli("up", *detach, "--json", folder=folder, environment=environment, timeout=HANGS)
        assert refused.returncode == code, refused.stderr
        assert refused.stdout == ""
        told = json.loads(refused.stderr)["error"]
        assert message in told["message"]
        assert told["hint"]
        assert "hidden" not in refused.stderr
    assert cli("status", folder=folder).returncode == 3


@pytest.mark.parametrize("arguments", [["up"], ["up", "--detach"], ["token"]], ids=" ".join)
def test_a_folder_that_cannot_be_written(arguments: list[str], tmp_path: Path) -> None:
    """A folder that cannot be written is told in a sentence."""
    folder = tmp_path
    if os.geteuid() == 0:
        folder = Path("/proc")  # root may write anywhere else
    else:
        folder.chmod(0o500)
    refused = cli(*arguments, folder=folder)
    assert refused.returncode == 2
    assert f"{folder / '.cloudia'} cannot be written" in refused.stderr
    assert "hint: Run this in a folder of yours." in refused.stderr


@pytest.mark.parametrize("detach", [[], ["--detach"]], ids=["foreground", "detached"])
def test_a_disk_that_is_full(detach: list[str], folder: Path) -> None:
    """Where nothing can be written any more, that is told before anything starts, and what was there stays as it was."""
    first = cli("token", folder=folder)
    assert first.returncode == 0
    before = {path: path.read_bytes() for path in (folder / ".cloudia").iterdir()}
    refused = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", *CLI, "up", "--json", *detach],
        cwd=folder,
        env=clean_environment(PYTHONDONTWRITEBYTECODE="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    error = json.loads(refused.stderr)["error"]
    assert error["message"] == f"{folder / '.cloudia' / 'room'} cannot be written: File too large"
    assert error["hint"].startswith("Make room")
    assert {path: path.read_bytes() for path in (folder / ".cloudia").iterdir()} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_output_that_cannot_be_written(form: list[str], folder: Path) -> None:
    """Where stdout has no room a command exits 1 with one sentence."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*CLI, "config", *form],
            cwd=folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=HANGS,
            check=False,
        )
    assert done.returncode == 1
    assert "the output cannot be used: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (1 if form else 2)


async def test_what_a_crash_left_broken(folder: Path, temporary: Path) -> None:
    """A `run.json` that a crash cut off is no stack to any verb, and the next `up` replaces it."""
    (folder / ".cloudia").mkdir()
    (folder / ".cloudia" / "run.json").write_text('{"state": "rea')
    for verb in ("status", "logs", "restart worker", "send hello"):
        assert cli(*verb.split(), folder=folder).returncode == 3
    assert cli("down", folder=folder).returncode == 0
    started = cli("up", "--detach", "--json", folder=folder, environment={"TMPDIR": str(temporary)})
    assert started.returncode == 0, started.stderr
    try:
        stack = Leftovers(json.loads(started.stdout), temporary=temporary)
        assert _run(folder)["state"] == "ready"
    finally:
        assert cli("down", folder=folder).returncode == 0
    await stack.gone()


async def test_a_run_json_that_is_broken_while_the_stack_runs(folder: Path, temporary: Path) -> None:
    """Broken while the stack runs, it exits 2 and says which process to end; that leaves nothing behind."""
    started = cli("up", "--detach", "--json", folder=folder, environment={"TMPDIR": str(temporary)})
    assert started.returncode == 0, started.stderr
    run = json.loads(started.stdout)
    stack = Leftovers(run, temporary=temporary)
    try:
        (folder / ".cloudia" / "run.json").write_text("{")
        for verb in ("status", "up --detach", "restart worker", "down"):
            refused = cli(*verb.split(), "--json", folder=folder)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert (
                f"process {run['supervisor']['pid']}, then `cloudia up`." in json.loads(refused.stderr)["error"]["hint"]
            )
    finally:
        os.kill(run["supervisor"]["pid"], signal.SIGTERM)
    await stack.gone()
    await eventually(lambda: cli("status", folder=folder).returncode == 3)
