"""Completion in bash, zsh and fish: verbs and options, and the names of the stack that runs."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.provider import quick
from tests.patience import HANGS
from tests.support import CLI, RunningStack, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

_MAIN = "import sys; sys.argv[0] = 'cloudia'; from cloudia.cli.main import main; sys.exit(main())"


def _complete(shell: str, line: str, folder: Path) -> list[str]:
    """Return what a shell is offered for a line that ends where the cursor is."""
    words = {"bash": {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}}.get(
        shell, {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    )
    done = subprocess.run(
        [sys.executable, "-c", _MAIN],
        cwd=folder,
        env=clean_environment(_CLOUDIA_COMPLETE=f"complete_{shell}", **words),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script(shell: str, tmp_path: Path) -> None:
    """`--show-completion` prints what a shell reads, and nothing else. Which shell runs is found out; here it is given."""
    shown = subprocess.run(
        [sys.executable, "-c", _MAIN, "--show-completion", shell],
        cwd=tmp_path,
        env=clean_environment(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=True,
    )
    assert shown.stderr == ""
    assert f"complete_{shell}" in shown.stdout
    assert "_CLOUDIA_COMPLETE" in shown.stdout
    assert list(tmp_path.iterdir()) == []
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=shown.stdout, text=True, check=True, timeout=HANGS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_verbs_and_options(shell: str, tmp_path: Path) -> None:
    """Verbs are completed, and the options of a verb."""
    assert "status" in "\n".join(_complete(shell, "cloudia sta", tmp_path))
    assert "--wait-for" in "\n".join(_complete(shell, "cloudia status --wai", tmp_path))
    assert "ready" in "\n".join(_complete(shell, "cloudia status --wait-for ", tmp_path))


@pytest.mark.parametrize("verb", ["logs", "restart"])
def test_parts(verb: str, stack: RunningStack, tmp_path: Path) -> None:
    """A part's name is completed from the stack that runs; where none does there is nothing to complete, and no error."""
    assert _complete("bash", f"cloudia {verb} ", stack.folder) == [
        "engine",
        "redis",
        "llm",
        "collector",
        "api",
        "gateway",
        "worker",
    ]
    assert _complete("bash", f"cloudia {verb} ga", stack.folder) == ["gateway"]
    assert _complete("bash", f"cloudia {verb} ga", tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_conversations(stack: RunningStack, tmp_path: Path) -> None:
    """A conversation's id is completed, with its title where the shell shows one; where nothing answers, nothing is offered."""
    with quick(stack.run):
        conversation = stack.json("send", f"title {secrets.token_hex(4)}")["conversation_id"]
    assert conversation in _complete("bash", "cloudia send -c cnv_", stack.folder)
    shown = "\n".join(_complete("zsh", "cloudia send -c cnv_", stack.folder))
    assert conversation in shown
    assert "title " in shown
    assert _complete("bash", "cloudia send -c cnv_", tmp_path) == []
    assert _complete("bash", "cloudia send -c nothing", stack.folder) == []


def test_a_shell_does_not_wait(tmp_path: Path) -> None:
    """A stack that does not answer holds up a shell for no more than a moment."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _MAIN],
        cwd=tmp_path,
        env=clean_environment(
            _CLOUDIA_COMPLETE="complete_bash",
            COMP_WORDS="cloudia send -c ",
            COMP_CWORD="3",
            CLOUDIA_API_URL="http://192.0.2.1",
            CLOUDIA_WEBSOCKET_URL="ws://192.0.2.1",
            CLOUDIA_TOKEN="x",
        ),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert time.monotonic() - began < 3


def test_completion_imports_little(tmp_path: Path) -> None:
    """Completing a part's name imports no HTTP client."""
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", *CLI[1:], "--help"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "cloudia.cli.completion" in imported
    assert imported.isdisjoint({"urllib.request", "http.client", "asyncio"})
