"""The contract of the command line, held for every verb by one table: exit codes, JSON, and what is drawn where.

A new verb without a row fails here. What a verb does is tested in its own file.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cli.main import main, verbs
from cloudia.cli.output import STATE
from tests.cli.provider import quick
from tests.cli.terminal import terminal
from tests.support import RunningStack, clean_environment, cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PROVIDER_KEYS = {"CLOUDIA_OPENAI_API_KEY": "simulated", "CLOUDIA_ANTHROPIC_API_KEY": "simulated"}


@dataclass(frozen=True)
class Row:
    """What holds for a verb."""

    arguments: str = ""
    """What it takes beyond its name, where a stack runs; `{folder}` is an empty folder, `{conversation}` one that is there."""
    code: int = 0
    """Its exit code there."""
    alone: int | None = None
    """Its exit code in an empty folder, where nothing runs; None where it would start something."""
    form: str = "document"
    """What it prints under --json: a `document`, one of a standard's own names (`otlp`), `lines` of JSON, or `none` where it
    has no data and no such option.
    """
    runs: bool = True
    """Whether it can be run here; else its own test says how it ends."""


_NEEDS_A_STACK = 3

ROWS = {
    "init": Row("{folder}/new", alone=0),
    "up": Row("--detach"),
    "down": Row(alone=0, runs=False),
    "status": Row(alone=_NEEDS_A_STACK),
    "logs": Row("-n 5", alone=_NEEDS_A_STACK, form="lines"),
    "restart": Row("gateway", alone=_NEEDS_A_STACK),
    "send": Row("hello", alone=_NEEDS_A_STACK),
    "chat": Row(form="none", runs=False),
    "top": Row(form="none", runs=False),
    "worker": Row(form="none", runs=False),
    "gateway": Row(form="none", runs=False),
    "provision": Row(alone=_NEEDS_A_STACK),
    "env": Row(alone=_NEEDS_A_STACK),
    "token": Row(alone=0),
    "config": Row(alone=0),
    "doctor": Row(alone=0),
    "drill": Row(runs=False),
    "conversations list": Row(alone=_NEEDS_A_STACK),
    "conversations show": Row("{conversation}", alone=_NEEDS_A_STACK),
    "dlq list": Row(alone=_NEEDS_A_STACK),
    "dlq show": Row("no-such-letter", code=2, alone=_NEEDS_A_STACK),
    "dlq redrive": Row("--all --dry-run", alone=_NEEDS_A_STACK),
    "dlq export": Row("{folder}/letters.jsonl", alone=_NEEDS_A_STACK),
    "dlq import": Row("/dev/null", alone=_NEEDS_A_STACK),
    "dlq purge": Row("--yes", alone=_NEEDS_A_STACK),
    "queue stats": Row(alone=_NEEDS_A_STACK),
    "queue peek": Row(alone=_NEEDS_A_STACK),
    "queue purge": Row("--yes", alone=_NEEDS_A_STACK),
    "cost": Row("--by day", alone=_NEEDS_A_STACK),
    "cost estimate": Row("--messages-per-month 1000", alone=0),
    "reconcile": Row(alone=_NEEDS_A_STACK),
    "trace": Row("--conversation {conversation}", form="otlp", alone=_NEEDS_A_STACK),
    "why": Row("no-such-job", code=2, alone=_NEEDS_A_STACK),
    "chaos llm": Row("slow --for 1s", alone=_NEEDS_A_STACK),
    "chaos redis": Row("pause", alone=_NEEDS_A_STACK, runs=False),
    "chaos engine": Row("pause", alone=_NEEDS_A_STACK, runs=False),
    "chaos gateway": Row("kill", alone=_NEEDS_A_STACK, runs=False),
    "chaos worker": Row("kill", alone=_NEEDS_A_STACK, runs=False),
    "chaos list": Row(alone=_NEEDS_A_STACK),
    "chaos off": Row(alone=_NEEDS_A_STACK),
    "llm record": Row("{folder}/case.json", form="lines", runs=False),
    "llm replay": Row("{folder}/no-such-case.json", code=2, alone=2),
    "build functions": Row("--output {folder}/zips", alone=0),
    "build terraform": Row("--output {folder}/stack.json", alone=0),
}


@pytest.fixture(autouse=True)
def _state() -> Iterator[None]:
    """Leave the command's own options as they were."""
    before = (STATE.quiet, STATE.debug, STATE.json)
    yield
    STATE.quiet, STATE.debug, STATE.json = before


@pytest.fixture(scope="module")
def conversation(stack: RunningStack) -> str:
    """A conversation that is there."""
    with quick(stack.run):
        made: str = stack.json("send", "hello")["conversation_id"]
        return made


def _here(arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Run a command in this process, in a folder. Return its exit code and what it printed."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["cloudia", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main()
    return code, out.getvalue(), err.getvalue()


def _is_error(said: str) -> None:
    """Hold that this is one error as JSON."""
    told = json.loads(said)
    assert set(told) == {"error"}
    assert set(told["error"]) == {"code", "message", "hint"}
    assert all(isinstance(value, str) for value in told["error"].values())
    assert told["error"]["message"]
    assert "Traceback" not in said


def test_every_verb_has_a_row() -> None:
    """The table names every verb, and no other."""
    assert set(ROWS) == set(verbs())


@pytest.mark.parametrize("verb", ROWS)
def test_json_is_an_option_of_every_verb_with_data(verb: str) -> None:
    """Every verb that prints data takes `--json`."""
    options = {option for parameter in verbs()[verb].params for option in parameter.opts}
    assert ("--json" in options) == (ROWS[verb].form != "none")


@pytest.mark.parametrize("verb", ROWS)
def test_every_option_says_what_it_does(verb: str) -> None:
    """Every verb, argument and option has a line of help."""
    command = verbs()[verb]
    assert command.help.splitlines()[0].strip()
    for parameter in command.params:
        assert parameter.help, parameter.name


@pytest.mark.parametrize("verb", ROWS)
def test_a_usage_error(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown option exits 2 with one sentence and a hint; under `--json` it is one object on stderr."""
    code, out, err = _here([*verb.split(), "--no-such-option"], tmp_path, monkeypatch)
    assert (code, out) == (2, "")
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: See `")
    assert hint.endswith(f"cloudia {verb} --help`.")
    code, out, err = _here([*verb.split(), "--no-such-option", "--json"], tmp_path, monkeypatch)
    assert (code, out) == (2, "")
    _is_error(err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [verb for verb, row in ROWS.items() if row.alone is not None])
def test_where_nothing_runs(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no stack runs a verb that needs one exits 3, with one object on stderr; any other prints its document."""
    row = ROWS[verb]
    arguments = row.arguments.format(folder=tmp_path, conversation="cnv_none").split()
    code, out, err = _here([*verb.split(), *arguments, "--json"], tmp_path, monkeypatch)
    assert code == row.alone, err
    if code:
        assert out == ""
        _is_error(err)
    else:
        assert isinstance(json.loads(out), dict)


@pytest.fixture
def known_again(stack: RunningStack) -> Iterator[None]:
    """A part that was restarted has another process: whoever has the stack next knows that one."""
    yield
    stack.run = stack.json("up", "--detach")


@pytest.mark.usefixtures("known_again")
@pytest.mark.parametrize("verb", [verb for verb, row in ROWS.items() if row.runs])
async def test_on_a_running_stack(verb: str, stack: RunningStack, conversation: str, tmp_path: Path) -> None:
    """Piped under `--json` a verb prints one document on one line; in a terminal it exits alike, and draws no traceback."""
    row = ROWS[verb]

    def arguments(folder: str) -> list[str]:
        (tmp_path / folder).mkdir()
        return [*verb.split(), *row.arguments.format(folder=tmp_path / folder, conversation=conversation).split()]

    with (
        quick(stack.run),
        terminal(*arguments("drawn"), folder=stack.folder, **_PROVIDER_KEYS) as drawn,
    ):
        piped = cli(*arguments("piped"), "--json", folder=stack.folder, environment=_PROVIDER_KEYS)
        assert await drawn.ends() == row.code, drawn.text
    assert piped.returncode == row.code, piped.stderr
    assert "Traceback" not in piped.stderr + drawn.text
    assert "\x1b" not in piped.stdout + piped.stderr
    if row.code:
        assert piped.stdout == ""
        _is_error(piped.stderr)
    elif row.form == "lines":
        assert all(isinstance(json.loads(line), dict) for line in piped.stdout.splitlines())
    else:
        assert piped.stdout.count("\n") == 1
        document = json.loads(piped.stdout)
        assert isinstance(document, dict)
        if row.form == "document":
            _is_snake_case(document)


def _is_snake_case(document: dict[str, Any]) -> None:
    """Hold that the names of a document are snake_case, as far down as the document is ours."""
    for name in document:
        assert name == name.lower()
        assert name.replace("_", "").isalnum()


def test_an_interrupted_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C exits 130 and prints no traceback."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cloudia.local.project.find_project", interrupted)
    assert _here(["config"], tmp_path, monkeypatch) == (130, "", "")
