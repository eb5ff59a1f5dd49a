"""`cloudia init` from the wheel: the project that it writes runs, and its tests pass, where nothing else is installed."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from cloudia.local.scaffold import FILES
from cloudia.sim.engines.ministack import OWN
from tests.package.conftest import ROOT, Environments
from tests.patience import HANGS
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def python(environments: Environments, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel and pytest, no MiniStack and nothing of ours.

    The wheel is that of the shared environment, which a line in a `.pth` file adds; so this takes two seconds, not twenty.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=HANGS)
    python = folder / "bin" / "python"
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (wheel,) = (environments.whole / "lib").glob("python*/site-packages")
    (packages / "wheel.pth").write_text(f"{wheel}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    arguments = ["install", "--quiet", "--no-compile", "--constraint", str(ROOT / "constraints.txt"), "pytest"]
    subprocess.run([*pip, *arguments], check=True, timeout=HANGS)
    return python


def lend_ministack(cache: Path) -> None:
    """Put our MiniStack where a stack looks for one of its own; `test_a_new_user` installs a true one."""
    own = cache / "cloudia" / OWN.folder.name
    (own / "bin").mkdir(parents=True)
    (own / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (own / "bin" / "python").chmod(0o755)
    (own / "complete").touch()


def test_a_new_project(python: Path, tmp_path: Path) -> None:
    """`cloudia init demo`, `cloudia up --detach` and `pytest`, from the wheel alone: three tests pass beside the stack."""
    cache = tmp_path / "cache"
    lend_ministack(cache)

    def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-P", "-m", *arguments],
            cwd=folder,
            env=Environments.variables(cache),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    made = run(tmp_path, "cloudia", "init", "demo", "--json")
    assert json.loads(made.stdout)["written"] == list(FILES), made.stderr
    demo = tmp_path / "demo"
    try:
        up = run(demo, "cloudia", "up", "--detach", "--json")
        assert up.returncode == 0, up.stderr
        tests = run(demo, "pytest", "-p", "no:cacheprovider")
        assert tests.returncode == 0, tests.stdout + tests.stderr
        assert "3 passed" in tests.stdout
        now = json.loads(run(demo, "cloudia", "status", "--json").stdout)
        assert now["pids"] == json.loads(up.stdout)["pids"]
        sent = json.loads(run(demo, "cloudia", "send", "/help", "--json").stdout)
        assert "/help" in sent["reply"]
    finally:
        down = run(demo, "cloudia", "down")
    assert down.returncode == 0


async def test_a_first_suite(python: Path, tmp_path: Path) -> None:
    """While MiniStack is being installed pytest says so, past its capturing; Ctrl-C ends that too, and leaves nothing."""
    (tmp_path / "test_one.py").write_text("def test_one(cloudia_stack): pass\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {
            **Environments.variables(tmp_path / "cache"),
            "PIP_CACHE_DIR": str(tmp_path / "empty"),
            "PIP_INDEX_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/",
            "PIP_FIND_LINKS": "",
        }
        said = tmp_path / "said"
        with said.open("wb") as out:
            suite = await asyncio.create_subprocess_exec(
                python, "-P", "-m", "pytest", "test_one.py", cwd=tmp_path, env=variables, stdout=out, stderr=out
            )
        try:
            await eventually(lambda: b"\ncloudia: installing MiniStack" in said.read_bytes())
            started = psutil.Process(suite.pid).children(recursive=True)
            suite.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(suite.wait(), HANGS) == pytest.ExitCode.INTERRUPTED
        finally:
            if suite.returncode is None:
                suite.kill()
                await suite.wait()
        assert started
        await eventually(lambda: not any(process.is_running() for process in started))
