"""What ships to AWS: the worker, the gateway and the functions, in an environment that has nothing but what they need."""

from __future__ import annotations

import ast
import asyncio
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.cli.provider import reply
from tests.package.conftest import ROOT, Environments
from tests.patience import HANGS
from tests.support import Cloud, RunningStack, clean_environment, eventually

_REQUIREMENTS = ROOT / "cloudia" / "worker" / "requirements.txt"
_ROOMS = ("worker", "functions", "gateway", "cloud")
_NEVER = {"typer", "click", "rich", "textual", "starlette", "uvicorn", "psutil", "platformdirs", "dotenv", "ministack"}
# Redis' client loads OpenTelemetry's SDK where that is installed, and that psutil; here it counts as absent.
_IMPORT_ALL = """
import importlib, json, pkgutil, sys
sys.modules["opentelemetry.sdk"] = None
import cloudia.worker, cloudia.functions, cloudia.gateway
for package in (cloudia.worker, cloudia.functions, cloudia.gateway):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


def _environment() -> dict[str, str]:
    # The bare environment was installed uncompiled: what is imported is compiled once, and kept.
    return clean_environment(PYTHONDONTWRITEBYTECODE="")


def _imported(python: Path | str, script: str = _IMPORT_ALL) -> set[str]:
    shown = subprocess.run(
        [python, "-P", "-c", script], capture_output=True, text=True, check=True, timeout=HANGS, env=_environment()
    )
    return set(json.loads(shown.stdout))


def _lines() -> list[str]:
    lines = (line.partition("#")[0].strip() for line in _REQUIREMENTS.read_text().splitlines())
    return [line for line in lines if line]


def _foreign(modules: set[str]) -> set[str]:
    """Return what must not be among the modules of the rooms that ship."""
    tops = {name.partition(".")[0] for name in modules}
    rooms = {name.split(".")[1] for name in modules if name.startswith("cloudia.")}
    return (tops & _NEVER) | (rooms & {"sim", "cli", "tui", "client"})


def test_the_requirements_are_the_packages() -> None:
    """Each line of `requirements.txt` stands word for word among the package's own dependencies."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert _lines()
    assert not set(_lines()) - set(dependencies)


def test_the_requirements_are_what_is_imported() -> None:
    """They name the distribution of every module that the rooms import, and none that no room does."""
    imported = set()
    for path in (path for room in _ROOMS for path in (ROOT / "cloudia" / room).rglob("*.py")):
        for node in ast.walk(_without_type_checking(ast.parse(path.read_text()))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            imported |= {name.partition(".")[0] for name in names}
    foreign = imported - set(sys.stdlib_module_names) - {"cloudia", ""}
    owners = importlib.metadata.packages_distributions()
    needed = {owners[name][0].lower() for name in foreign}
    # botocore comes with boto3, and is its other face; jsonschema is used where it is installed.
    assert needed - {"botocore", "jsonschema"} == {re.split(r"[<>=!~ \[]", line)[0].lower() for line in _lines()}


def _without_type_checking(tree: ast.Module) -> ast.Module:
    kept = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))]
    return ast.Module(kept, [])


@pytest.mark.long
def test_nothing_else_is_there(environments: Environments) -> None:
    """The bare environment has no terminal toolkit, no web server and no simulator's part, and all rooms import in it."""
    python = environments.bare / "bin" / "python"
    script = f"import importlib.util as u, json; print(json.dumps([n for n in {sorted(_NEVER)} if u.find_spec(n)]))"
    assert _imported(python, script) == set()
    assert _foreign(_imported(python)) == set()


def test_nothing_else_is_imported() -> None:
    """Where everything is installed, the rooms import none of it either."""
    modules = _imported(sys.executable)
    assert {"cloudia.worker.__main__", "cloudia.gateway.__main__", "cloudia.functions.post_message"} <= modules
    assert _foreign(modules) == set()


@pytest.mark.long
async def test_a_bare_worker_answers(
    environments: Environments, stack: RunningStack, cloud: Cloud, tmp_path: Path
) -> None:
    """`python -m cloudia.worker` in the bare environment answers a message, and ends with 0 on SIGTERM."""
    job = cloud.accept()
    cloud.queue.send(job)
    reply(stack.run, "From a bare worker.")
    with (tmp_path / "log").open("wb") as log:
        worker = await asyncio.create_subprocess_exec(
            environments.bare / "bin" / "python",
            "-m",
            "cloudia.worker",
            cwd=tmp_path,
            env={**cloud.environment(), "PYTHONDONTWRITEBYTECODE": ""},
            stdout=log,
            stderr=log,
        )
    try:

        def ended() -> Any:
            found = cloud.jobs.get(job.job_id, "alice")
            return found if found.ended else None

        answered = await eventually(ended)
        assert answered.status == "done"
        page = cloud.history.messages("alice", job.conversation_id, limit=10, cursor=None)
        assert page.to_json("messages")["messages"][-1]["content"] == "From a bare worker."
    finally:
        worker.terminate()
        code = await asyncio.wait_for(worker.wait(), HANGS)
    assert code == 0, (tmp_path / "log").read_text()


@pytest.mark.long
@pytest.mark.parametrize("module", ["cloudia.sim", "cloudia.cli.main"])
def test_the_rest_needs_more(module: str, environments: Environments) -> None:
    """A proof of the proof: what needs more than the bare environment does not import there, except for a bare name."""
    done = subprocess.run(
        [environments.bare / "bin" / "python", "-c", f"import {module}"],
        capture_output=True,
        timeout=HANGS,
        check=False,
    )
    assert (done.returncode == 0) is (module == "cloudia.sim")
