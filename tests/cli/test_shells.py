"""Every verb in a shell that names accounts, files and proxies: a local stack looks at none of them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.provider import quick
from tests.cli.test_contract import ROWS
from tests.patience import HANGS
from tests.shells import NAMES, dead_proxy, shell
from tests.support import CLI, RunningStack, clean_environment, cli, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def astray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A shell that has all at once. Nobody may reach its proxy."""
    with dead_proxy() as (proxy, came):
        yield shell(*NAMES, folder=tmp_path_factory.mktemp("shell"), proxy=proxy)
    assert came == []


@pytest.fixture(scope="module")
def led(astray: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that was started there."""
    running = start_stack(tmp_path_factory.mktemp("led"), **astray)
    yield running
    stop_stack(running)


@pytest.fixture(scope="module")
def conversation(led: RunningStack, astray: dict[str, Any]) -> str:
    """A conversation that is there: so the parts answer."""
    with quick(led.run):
        made: str = led.json("send", "hello", **astray)["conversation_id"]
        return made


@pytest.mark.parametrize("verb", [verb for verb, row in ROWS.items() if row.runs and verb != "build functions"])
def test_i10_a_verb_in_any_shell(
    verb: str, led: RunningStack, conversation: str, astray: dict[str, Any], tmp_path: Path
) -> None:
    """It exits as in an empty shell, whatever accounts and proxies the shell names, and works on the same stack."""
    arguments = ROWS[verb].arguments.format(folder=tmp_path, conversation=conversation).split()
    with quick(led.run):
        done = led.cli(*verb.split(), *arguments, **astray)
    assert done.returncode == ROWS[verb].code, done.stderr


def test_nothing_is_provisioned_twice(led: RunningStack, astray: dict[str, Any], conversation: str) -> None:
    """Asked from this shell and from an empty one, every resource is there already: it is one account."""
    assert conversation
    for variables in (astray, {}):
        told = led.json("provision", **variables)
        assert {resource["action"] for resource in told["resources"]} == {"unchanged"}


def test_doctor_names_what_is_not_used(astray: dict[str, Any], tmp_path: Path) -> None:
    """Each variable of an account and of a proxy is named, never its value; nothing is missing for that."""
    done = cli("doctor", "--json", folder=tmp_path, environment=astray)
    assert done.returncode == 0, done.stdout
    found = {check["name"]: check["found"] for check in json.loads(done.stdout)["checks"]}
    assert {"AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN"} <= _names(found["aws account"])
    assert {"HTTP_PROXY", "http_proxy", "ALL_PROXY"} <= _names(found["proxy"])
    assert "theirs" not in done.stdout


def _names(found: str) -> set[str]:
    return set(found.partition(": ")[2].split(", "))


@pytest.mark.long
def test_a_drill_in_any_shell(astray: dict[str, Any], tmp_path: Path) -> None:
    """A drill's own stack is as deaf to it."""
    done = cli("drill", "--jobs", "5", "--only", "order", folder=tmp_path, environment=astray)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_a_suite_in_any_shell(astray: dict[str, Any], tmp_path: Path) -> None:
    """The pytest plugin's stack is as deaf to it."""
    (tmp_path / "cloudia.toml").touch()
    (tmp_path / "test_it.py").write_text(
        "def test_it(cloudia_client, cloudia_llm):\n"
        "    cloudia_llm.reply('fine')\n"
        "    assert cloudia_client.ask('hello').text == 'fine'\n"
    )
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:xdist"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=clean_environment(**astray),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_an_empty_shell(tmp_path: Path) -> None:
    """`env -i`: no PATH, no HOME, no locale; in a folder with spaces and accents, a stack comes up, answers and goes."""
    folder = tmp_path / "fôlder with späces"
    folder.mkdir()
    for verb in ("up --detach", "status", "send hello", "dlq list", "down"):
        done = subprocess.run(
            [*CLI, *verb.split()], cwd=folder, env={}, capture_output=True, timeout=HANGS, check=False
        )
        assert done.returncode == 0, done.stderr
