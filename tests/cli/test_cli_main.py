"""The command itself: help, version, usage errors, and what it costs to start."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command

from cloudia import __version__
from cloudia.cli.main import app
from tests.cli.terminal import terminal
from tests.patience import HANGS
from tests.support import CLI, clean_environment, cli

if TYPE_CHECKING:
    from pathlib import Path

_HELP_SECONDS = 0.15
_HEAVY = ("boto3", "botocore", "redis", "textual", "httpx2", "openai", "anthropic", "websockets", "pydantic")


def _verbs() -> list[str]:
    found = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        found.append(name)
        found += [f"{name} {inner}" for inner in getattr(command, "commands", {})]
    return found


def test_the_verbs_are_those_of_the_contract() -> None:
    """Every verb that the command-line contract names for this version is there."""
    asked = {
        "up",
        "down",
        "status",
        "logs",
        "send",
        "conversations",
        "worker",
        "gateway",
        "provision",
        "token",
        "config",
    }
    assert asked | {"doctor", "conversations list", "conversations show"} <= set(_verbs())


@pytest.mark.parametrize("verb", ["", *_verbs()])
def test_help_of_every_verb(verb: str, tmp_path: Path) -> None:
    """`--help` prints what a verb does and takes to stdout, exits 0, and leaves nothing in the folder."""
    shown = cli(*verb.split(), "--help", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Usage: " in shown.stdout
    assert "--help" in shown.stdout
    assert shown.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_help_names_the_exit_codes(tmp_path: Path) -> None:
    """Whoever scripts cloudia finds the exit codes in its help."""
    shown = " ".join(cli("--help", folder=tmp_path).stdout.split())
    assert "3 no stack running" in shown
    assert "130 interrupted" in shown


def test_help_is_quick(tmp_path: Path) -> None:
    """`cloudia --help` takes at most 0.15 s of CPU, the best of five: the verbs import lazily what they need.

    CPU, because other tests run at the same time; alone it takes no longer on the wall.
    """
    best = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert cli("--help", folder=tmp_path).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert best <= _HELP_SECONDS


@pytest.mark.parametrize("arguments", [["--help"], ["token"], ["config", "--json"]])
def test_no_heavy_imports(arguments: list[str], tmp_path: Path) -> None:
    """Neither the help nor a verb that talks to nobody imports an SDK, a client of Redis or a terminal toolkit."""
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", *CLI[1:], *arguments],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in shown.stderr.splitlines()}
    assert "cloudia" in imported
    assert imported.isdisjoint(_HEAVY)


def test_version(tmp_path: Path) -> None:
    """`--version` prints the package's version."""
    shown = cli("--version", folder=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, f"cloudia {__version__}\n")


def test_no_verb_prints_the_help(tmp_path: Path) -> None:
    """`cloudia` alone, and a verb that needs another, print their help and exit 2."""
    for arguments in ([], ["conversations"]):
        shown = cli(*arguments, folder=tmp_path)
        assert shown.returncode == 2
        assert "Usage: " in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "named", "whose"),
    [
        (["frobnicate"], "frobnicate", "--help"),
        (["--frobnicate"], "--frobnicate", "--help"),
        (["send"], "text", "send --help"),
        (["send", "a", "b"], "b", "send --help"),
        (["up", "--workers", "many"], "many", "up --help"),
        (["conversations", "list", "--limit", "0"], "--limit", "conversations list --help"),
        (["token", "--ttl", "0"], "--ttl", "token --help"),
        (["gateway", "--port", "65536"], "--port", "gateway --help"),
        (["logs", "-n", "-1"], "-n", "logs --help"),
    ],
)
def test_usage_errors(arguments: list[str], named: str, whose: str, tmp_path: Path) -> None:
    """A wrong command line exits 2 with one sentence that names what is wrong, and a hint that names whose help to read."""
    shown = cli(*arguments, folder=tmp_path)
    assert shown.returncode == 2
    assert shown.stdout == ""
    error, hint = shown.stderr.splitlines()
    assert error.startswith("error: ")
    assert named in error
    assert hint.startswith("hint: See `")
    assert hint.endswith(f"cloudia {whose}`.")

    shown = cli(*arguments, "--json", folder=tmp_path)
    assert shown.returncode == 2
    assert shown.stdout == ""
    told = json.loads(shown.stderr)
    assert set(told) == {"error"}
    assert set(told["error"]) == {"code", "message", "hint"}
    assert told["error"]["code"] == "usage"


_NEED_A_STACK = [
    ["status"],
    ["send", "hello"],
    ["send", "hello", "--no-wait"],
    ["logs"],
    ["conversations", "list"],
    ["conversations", "show", "cnv_x"],
]


@pytest.mark.parametrize("arguments", _NEED_A_STACK, ids=" ".join)
def test_nothing_runs_here(arguments: list[str], tmp_path: Path) -> None:
    """A verb that needs a stack exits 3 where none runs, says so in one sentence, and how to start one."""
    shown = cli(*arguments, folder=tmp_path)
    assert shown.returncode == 3
    assert shown.stdout == ""
    error, hint = shown.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: Start ")
    assert hint.endswith(" with `cloudia up --detach`.")


def test_errors_as_json(tmp_path: Path) -> None:
    """Under `--json` an error is one object on stderr."""
    shown = cli("status", "--json", folder=tmp_path)
    assert shown.returncode == 3
    assert shown.stdout == ""
    assert json.loads(shown.stderr)["error"]["code"] == "no_stack"


async def test_errors_in_a_terminal(tmp_path: Path) -> None:
    """In a terminal an error is coloured; with NO_COLOR it is not."""
    with terminal("status", folder=tmp_path) as shown:
        assert await shown.ends() == 3
        assert "error: no stack is running here" in shown.text
        assert shown.coloured
    with terminal("status", folder=tmp_path, NO_COLOR="1") as shown:
        assert await shown.ends() == 3
        assert "error: no stack is running here" in shown.text
        assert not shown.coloured


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    """A traceback is shown with `--debug` or CLOUDIA_DEBUG alone."""
    assert "Traceback" not in cli("status", folder=tmp_path).stderr
    assert "Traceback" in cli("--debug", "status", folder=tmp_path).stderr
    assert "Traceback" in cli("status", folder=tmp_path, environment={"CLOUDIA_DEBUG": "1"}).stderr


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """Where whoever reads stdout has what they wanted, the command ends quietly, and well."""
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" -m cloudia config | head -n 1', sys.executable],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=True,
    )
    assert done.stdout.startswith("SETTING")
    assert done.stderr == ""
