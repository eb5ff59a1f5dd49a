"""The lower bounds of what cloudia depends on are those that were tried: with each of them at its bound, it works."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.package.conftest import ROOT
from tests.patience import HANGS
from tests.support import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

_TOOLS = ("pytest", "pytest-asyncio", "pytest-xdist", "hypothesis", "jsonschema")
_PARTS = (
    "tests/cloud/test_identity.py",
    "tests/cloud/test_events.py",
    "tests/sim/llm/test_chat.py",
    "tests/gateway/test_gateway_hello.py",
    "tests/gateway/test_gateway_floods.py",
    "tests/worker/test_worker.py",
    "tests/cli/test_stack.py",
    "tests/tui/test_chat.py::test_a_message_streams_in",
)
"""Of the suite what meets each of the libraries, and the floods that older versions of two of them fall to."""


@pytest.mark.long
def test_the_suite_at_its_lower_bounds(tmp_path: Path) -> None:
    """What a message goes through, with the oldest version of each library that `pyproject.toml` lets in."""
    python = tmp_path / "lowest" / "bin" / "python"
    _uv("venv", "--quiet", "--python", sys.executable, str(python.parents[1]))
    lowest = tmp_path / "lowest.txt"
    bounds = ("--resolution", "lowest-direct", "--extra", "jwks", "--python", str(python))
    _uv("pip", "compile", "--quiet", *bounds, str(ROOT / "pyproject.toml"), "--output-file", str(lowest))
    install = ("pip", "install", "--quiet", "--python", str(python))
    _uv(*install, "--no-deps", "--requirement", str(lowest))
    _uv(*install, *(f"{tool}=={importlib.metadata.version(tool)}" for tool in _TOOLS))
    _uv(*install, "--no-deps", "--editable", str(ROOT))
    suite = [
        str(python),
        "-m",
        "pytest",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        "--quiet",
        "-m",
        "long or not long",
        *_PARTS,
    ]
    done = subprocess.run(
        suite, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=5 * HANGS, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " passed" in done.stdout


def _uv(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments], capture_output=True, text=True, timeout=2 * HANGS, check=False
    )
    assert done.returncode == 0, done.stderr
