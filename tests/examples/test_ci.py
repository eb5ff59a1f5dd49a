"""The pipeline in `examples/ci`, run exactly as written."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudia.local.project import Project
from cloudia.local.stop import stop_stack
from tests.patience import HANGS
from tests.support import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

_CI = Path(__file__).parents[2] / "examples" / "ci"
_STEPS = re.findall(r"^      - run: (.+)$", (_CI / "chat.yml").read_text(), re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A repository with the pipeline where its workflow says that it lies; what it leaves running is stopped."""
    folder = tmp_path / "checkout"
    (folder / "ci").mkdir(parents=True)
    shutil.copy(_CI / "chat.sh", folder / "ci" / "chat.sh")
    yield folder
    stop_stack(Project(folder))


def _run(step: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step as a runner does: `bash -e`, with the environment that has cloudia first on the PATH."""
    there = clean_environment(**environment)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step],
        cwd=folder,
        env={**there, "PATH": f"{Path(sys.executable).parent}:{there['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def _nothing_runs(folder: Path, temporary: Path) -> None:
    assert Project(folder).read_run() is None
    assert not Project(folder).is_locked
    assert not list(temporary.iterdir())


@pytest.mark.long
def test_the_pipeline(checkout: Path, tmp_path: Path) -> None:
    """Every step of the workflow passes: the stack is up, answers, is asserted on, and nothing of it is left."""
    install, *steps = _STEPS
    assert install == 'pip install "cloudia-chat[local]"'
    assert "local" in (metadata("cloudia-chat").get_all("Provides-Extra") or [])
    assert steps == ["cloudia doctor", "sh ci/chat.sh"]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    for step in steps:
        done = _run(step, checkout, TMPDIR=str(temporary))
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nok: ") == 6
    assert done.stderr == ""
    _nothing_runs(checkout, temporary)


@pytest.mark.long
def test_a_pipeline_that_fails(checkout: Path, tmp_path: Path) -> None:
    """Where a step fails, so does the pipeline, with its exit code: it prints the logs, and nothing is left running either."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = _run("sh ci/chat.sh", checkout, TMPDIR=str(temporary), CLOUDIA_LIMITS_CONTENT_BYTES="5")
    assert done.returncode == 2
    assert "content has 29 bytes; 5 are allowed" in done.stderr
    assert "--- what the parts logged ---" in done.stderr
    assert " worker ready" in done.stderr
    _nothing_runs(checkout, temporary)


@pytest.mark.long
def test_a_stack_that_does_not_start(checkout: Path, tmp_path: Path) -> None:
    """Where the stack does not even start, the pipeline ends with that error, at once."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = _run("sh ci/chat.sh", checkout, TMPDIR=str(temporary), CLOUDIA_UP_LLM="gpt")
    assert done.returncode == 2
    assert "'gpt' is no LLM" in done.stderr
    _nothing_runs(checkout, temporary)


def test_the_script_is_plain_shell() -> None:
    """The script is POSIX shell, and needs nothing that a runner may lack."""
    subprocess.run(["sh", "-n", str(_CI / "chat.sh")], check=True, timeout=HANGS)
    assert not re.search(r"\b(jq|curl|docker|aws)\b", (_CI / "chat.sh").read_text())
