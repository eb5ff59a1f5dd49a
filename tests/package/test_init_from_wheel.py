"""`cloudia init` from the wheel: the project that it writes runs, and its tests pass, where nothing else is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cloudia.sim.ministack import VERSION
from cloudia.sim.scaffold import FILES
from tests.package.conftest import ROOT, Environments

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def python(environments: Environments, tmp_path: Path) -> Path:
    """A Python that has the wheel and pytest, no MiniStack and nothing of ours.

    The wheel is that of the shared environment, which a line in a `.pth` file adds; so this takes two seconds, not twenty.
    """
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    python = folder / "bin" / "python"
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (wheel,) = (environments.whole / "lib").glob("python*/site-packages")
    (packages / "wheel.pth").write_text(f"{wheel}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    arguments = ["install", "--quiet", "--no-compile", "--constraint", str(ROOT / "constraints.txt"), "pytest"]
    subprocess.run([*pip, *arguments], check=True, timeout=60)
    return python


def lend_ministack(cache: Path) -> None:
    """Put our MiniStack where a stack looks for one of its own; `test_a_new_user` installs a true one."""
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    own = cache / "cloudia" / f"ministack-{VERSION}-{version}"
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
