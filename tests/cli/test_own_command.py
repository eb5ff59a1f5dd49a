"""How `up` tells its user to go on: a command that can be typed as it stands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from cloudia.cli.own_command import own_command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command in an environment of the working folder."""
    command = tmp_path / "of mine" / ".venv" / "bin" / "cloudia"
    command.parent.mkdir(parents=True)
    command.touch(mode=0o755)
    monkeypatch.chdir(command.parents[2])
    monkeypatch.setenv("PATH", "/usr/bin")
    return command


def test_on_the_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PATH finds this very command, its name is enough; another one of that name is not this one."""
    monkeypatch.setattr(sys, "argv", [str(installed)])
    monkeypatch.setenv("PATH", str(installed.parent))
    assert own_command() == "cloudia"
    other = installed.parents[2] / "other"
    other.mkdir()
    (other / "cloudia").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(other))
    assert own_command() == ".venv/bin/cloudia"


@pytest.mark.parametrize("started_as", [".venv/bin/cloudia", "./.venv/bin/cloudia", "{}"])
def test_in_the_folder(started_as: str, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `make up`: the path from here."""
    monkeypatch.setattr(sys, "argv", [started_as.format(installed)])
    assert own_command() == ".venv/bin/cloudia"


def test_elsewhere(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder: the whole path, quoted for a shell."""
    monkeypatch.setattr(sys, "argv", [str(installed)])
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert own_command() == f"'{installed}'"


def test_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m cloudia`."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/cloudia/__main__.py"])
    assert own_command().endswith(" -m cloudia")


def test_by_a_name_that_is_no_file(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts it may call it what they like; a name alone is told as it is, found on the PATH or not."""
    monkeypatch.setattr(sys, "argv", ["cloudia"])
    assert own_command() == "cloudia"
    monkeypatch.setenv("PATH", str(installed.parent))
    assert own_command() == "cloudia"
