"""What a shell may give a verb: an encoding without the characters, closed streams, a dumb terminal, a folder that is gone."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cli.main import main
from tests.cli.provider import quick
from tests.cli.terminal import CTRL_C, terminal
from tests.cli.test_contract import _PROVIDER_KEYS, ROWS, _state, known_again
from tests.patience import HANGS
from tests.support import CLI, RunningStack, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["_state", "known_again"]

_ALONE = [verb for verb, row in ROWS.items() if row.alone is not None]
_QUICKLY = {"status", "send", "conversations list", "conversations show", "logs", "doctor"}
_SAID = "Grüße 👋 日本"
_CLOSED = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]
_LEAVING = [("chat", "SIGINT"), ("chat", "SIGTERM"), ("top", "key"), ("top", "SIGINT"), ("top", "SIGTERM")]
_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""The locale C as Python 3.6 took it, and as it is where somebody insists."""


def _here(arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, errors: str) -> tuple[int, str, str]:
    """Run a command in this process, its streams being of ASCII. Return its exit code and what it printed."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    for name, value in _PROVIDER_KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["cloudia", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=errors, write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main()
    told = [stream.buffer.getvalue().decode("ascii") for stream in (out, err)]
    return code, told[0], told[1]


def _arguments(verb: str, folder: Path, conversation: str = "cnv_none") -> list[str]:
    arguments = [*verb.split(), *ROWS[verb].arguments.format(folder=folder, conversation=conversation).split()]
    return [_SAID if argument == "hello" else argument for argument in arguments]


@pytest.fixture(scope="module")
def conversation(stack: RunningStack) -> Iterator[str]:
    """A conversation in several scripts."""
    with quick(stack.run):
        yield str(stack.json("send", _SAID)["conversation_id"])


@pytest.mark.usefixtures("known_again")
@pytest.mark.parametrize("errors", ["strict", pytest.param("surrogateescape", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "verb",
    [pytest.param(verb, marks=() if verb in _QUICKLY else pytest.mark.long) for verb, row in ROWS.items() if row.runs],
)
def test_an_encoding_without_the_characters(  # noqa: PLR0917 - fixtures
    verb: str, errors: str, stack: RunningStack, conversation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verb exits as ever, and says all there is: what ASCII lacks as escapes, which in JSON are JSON's own."""
    row = ROWS[verb]
    for folder, more in (("plain", []), ("json", ["--json"])):
        (tmp_path / folder).mkdir()
        arguments = [*_arguments(verb, tmp_path / folder, conversation), *more]
        code, out, err = _here(arguments, stack.folder, monkeypatch, errors)
        assert code == row.code, err
        assert "Unicode" not in err
    if row.code == 0:
        documents = [json.loads(line) for line in out.splitlines()]
        if verb == "send":
            assert _SAID in documents[0]["reply"]
        if verb == "conversations show":
            assert _SAID in json.dumps(documents, ensure_ascii=False)


@pytest.mark.parametrize(
    "verb", [v if v in {"status", "init"} else pytest.param(v, marks=pytest.mark.long) for v in _ALONE]
)
@pytest.mark.parametrize("closed", _CLOSED)
def test_closed_streams(verb: str, closed: str, tmp_path: Path) -> None:
    """A verb exits as it does with its streams open, and what it writes into files is what belongs there."""
    command = [*CLI, *_arguments(verb, tmp_path)]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *command],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert done.returncode == ROWS[verb].alone, done.stderr
    assert "defect" not in done.stderr
    if verb == "init":
        assert "written" not in "".join(path.read_text() for path in (tmp_path / "new").glob("*.md"))
        assert (tmp_path / "new" / "README.md").read_text().startswith("# ")


@pytest.mark.parametrize("verb", [v if v in _QUICKLY else pytest.param(v, marks=pytest.mark.long) for v in _ALONE])
def test_a_folder_that_is_gone(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb that needs a folder says that it was deleted, as a mistake in how it was called; another does its work."""
    (tmp_path / "gone").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "argv", ["cloudia", *_arguments(verb, tmp_path / "there"), "--json"])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main()
    assert "defect" not in err.getvalue()
    if code != ROWS[verb].alone or code:
        told = json.loads(err.getvalue())["error"]
        assert (code, told["code"]) == (2, "usage")
        assert "deleted" in told["message"] or ROWS[verb].alone == code


@pytest.mark.parametrize("verb", ["chat", "top"])
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TERM": "dumb"}, "TERM is dumb"),
        ({"PYTHONIOENCODING": "latin-1"}, "its encoding here is iso8859-1"),
        (_C, "UTF-8"),
    ],
)
async def test_a_terminal_that_cannot_be_drawn_in(
    verb: str, environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    """What draws says in a sentence why it does not, before it draws."""
    with terminal(verb, folder=tmp_path, **environment) as shown:
        await shown.shows("error: this needs a terminal", said, "hint: ")
        assert await shown.ends() == 2
    assert "\x1b[?" not in shown.raw


@pytest.mark.parametrize(
    ("verb", "by"),
    [("chat", "key"), *(pytest.param(*each, marks=pytest.mark.long) for each in _LEAVING)],
)
async def test_what_draws_is_left(verb: str, by: str, stack: RunningStack) -> None:
    """Ctrl-C leaves with 130, a signal with 128 and its number; the terminal gets back its screen and its cursor."""
    with terminal(verb, folder=stack.folder) as shown:
        await shown.shows("Quit")
        if by == "key":
            shown.type(CTRL_C)
        else:
            shown.process.send_signal(getattr(signal, by))
        assert await shown.ends() == {"key": 130, "SIGINT": 130, "SIGTERM": 143}[by]
    for on, off in (("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h")):
        assert shown.raw.rfind(off) > shown.raw.rfind(on) >= 0
    assert "Traceback" not in shown.text


@pytest.mark.long
async def test_a_signal_while_it_begins(stack: RunningStack) -> None:
    """Whenever it comes, no screen stumbles over it."""
    for later in range(8):
        with terminal("chat", folder=stack.folder) as shown:
            await shown.shows("\x1b[?2026$p"[3:])
            await asyncio.sleep(later * 0.03)
            shown.process.send_signal(signal.SIGINT)
            assert await shown.ends() == 130, shown.text


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("environment", [{}, _C])
def test_files_are_utf_8(bom: str, environment: dict[str, str], tmp_path: Path) -> None:
    """`cloudia.toml` and `.env` are read as UTF-8 whatever the locale, with or without a mark at their beginning."""
    toml = f'{bom}llm.system_prompt = "{_SAID}"\n'
    (tmp_path / "cloudia.toml").write_text(toml, encoding="utf-8")
    (tmp_path / ".env").write_text(f"{bom}CLOUDIA_LLM_MODEL={_SAID}\n", encoding="utf-8")
    shown = subprocess.run(
        [*CLI, "config", "--json"],
        cwd=tmp_path,
        env=clean_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=HANGS,
        check=True,
    )
    settings: dict[str, Any] = {one["name"]: one["value"] for one in json.loads(shown.stdout)["settings"]}
    assert (settings["llm.system_prompt"], settings["llm.model"]) == (_SAID, _SAID)


def test_an_argument_in_the_locale_c(stack: RunningStack) -> None:
    """A text that the locale has no characters for is sent as it was typed."""
    done = subprocess.run(
        [*CLI, "send", _SAID, "--json"],
        cwd=stack.folder,
        env=clean_environment(**_C),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=HANGS,
        check=True,
    )
    assert _SAID in json.loads(done.stdout)["reply"]
