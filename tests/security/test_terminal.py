"""What others wrote never steers a terminal: control characters and marks of direction are shown, not executed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from textual.app import App
from textual.widgets import DataTable

from cloudia.errors import CloudiaError, UnavailableError
from cloudia.operate.samples import PartSample, Sample
from cloudia.protocol import Event
from cloudia.tui.app import ChatApp, TopApp
from cloudia.tui.preferences import Preferences
from cloudia.visible import json_escaped, visible
from tests.cli.terminal import terminal
from tests.support import RunningStack, eventually, start_stack, stop_stack
from tests.tui.scripted import ScriptedApi, ScriptedClient, ScriptedSampler, message

MARKS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
EVIL = (
    "evil \x1b[777;777H \x1b[6;9mstrike \x1b]52;c;ZXZpbA==\x07 \x1b]8;;http://evil\x1b\\link \x1bP+q\x1b\\ "
    "\x9b31m \x9d0;title\x9c \x08\x08\x7f \x0b\x0c\x0e " + MARKS + " end"
)
SHORT = "evil \x1b[777;777H\x9b31m\u202e end"
"""Fits into a title, a part's detail, and a column."""
FAMILY = "👩\u200d👧 ❤\ufe0f"
_OWN = re.compile(r"\x1b\[[0-9;?<>=$]*[A-Za-z]")
"""What Rich and Textual draw with."""
_RAW = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{MARKS}]")


def assert_harmless(drawn: str) -> None:
    """Nothing of the evil text reached the terminal as it is: what is left without the drawing's own sequences is text."""
    for sequence in re.findall(r"\x1b[\[\]P][^ ]{2,}", EVIL):
        assert sequence not in drawn
    assert _RAW.findall(_OWN.sub("", drawn)) == []


# --- the function ----------------------------------------------------------------------------------------------------

PIECES = st.lists(st.text() | st.sampled_from([*EVIL, "\x1b", "[31m", "\r\n", FAMILY]), max_size=12).map("".join)


@given(PIECES)
@example(EVIL)
@example("".join(map(chr, range(0x110000))))
def test_what_is_visible_has_no_control_and_no_mark_of_direction(text: str) -> None:
    """Of all characters of Unicode: newline and tab are the only controls that are left, and no half of a pair is."""
    shown = visible(text)
    assert {character for character in shown if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}} <= {
        "\n",
        "\t",
    }
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not [character for character in shown if unicodedata.bidirectional(character) in directions]
    assert not set(shown) & set(MARKS)
    assert visible(shown) == shown


@given(st.lists(PIECES, max_size=5))
def test_a_text_may_come_in_pieces(pieces: list[str]) -> None:
    """A sequence that is cut between two deltas is as harmless as a whole one."""
    assert "".join(map(visible, pieces)) == visible("".join(pieces))


def test_what_is_harmless_stays() -> None:
    """Text of any script, newlines, tabs, and the joiners of emoji."""
    for text in (f"a\tb\nc {FAMILY}", "שלום عالم", "日本語 😀", "\\x1b[31m", "␛"):
        assert visible(text) == text
    assert visible("\x1b[31m\x9b\x7f\u202e") == "␛[31m\\x9b␡\\u202e"


@given(
    st.recursive(
        st.none() | st.integers() | PIECES, lambda inner: st.lists(inner) | st.dictionaries(PIECES, inner), max_leaves=5
    )
)
@example([EVIL])
def test_json_is_the_same_data_and_harmless(document: Any) -> None:
    """A program reads what was meant; a terminal that shows it executes nothing."""
    text = json_escaped(json.dumps(document, ensure_ascii=False))
    assert json.loads(text) == document
    assert visible(text) == text


# --- the command line, in a terminal and in a pipe -------------------------------------------------------------------

BOT = f"""
async def answer(turn):
    if "please fail" in turn.messages[-1].content:
        raise RuntimeError
    for character in {EVIL!r}:  # Each sequence is cut between two deltas.
        yield character
"""


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose responder and model are called by somebody who means no good, with a letter that is dead."""
    folder = tmp_path_factory.mktemp("evil")
    model = json.dumps(SHORT)
    (folder / "cloudia.toml").write_text(
        f'[worker]\nresponder = "bot:answer"\nmax_attempts = 1\n[events]\nframe_ms = 0\n[llm]\nmodel = {model}\n'
    )
    (folder / "bot.py").write_text(BOT)
    running = start_stack(folder)
    running.cli("send", f"{EVIL} please fail", "--user", "local")
    running.cli("send", EVIL)
    line = json.dumps({"event": EVIL, "field": EVIL, "exception": EVIL}, ensure_ascii=False)
    (folder / ".cloudia" / "logs" / "evil.log").write_text(f"{EVIL}\n{line}\n")
    yield running
    stop_stack(running)


def conversation(evil: RunningStack) -> str:
    """Return the conversation that has an answer."""
    return str(evil.json("conversations", "list")["conversations"][0]["conversation_id"])


@pytest.mark.parametrize(
    ("verb", "shows"),
    [
        (["send", EVIL], "␛[777;777H"),
        (["send", EVIL, "--json"], "\\u001b[777;777H"),
        (["send", f"{EVIL} please fail"], "dead letter"),
        (["conversations", "list"], "[777;777H"),  # A title that is made of a message has no control character.
        (["conversations", "list", "--json"], "[777;777H"),
        (["conversations", "show", "CONVERSATION"], "\\u202e"),
        (["dlq", "list"], "responder_failed"),
        (["dlq", "show", "LETTER"], "␛[777;777H"),
        (["dlq", "show", "LETTER", "--json"], "\\u202e"),
        (["dlq", "export", "-"], "\\u202e"),
        (["logs", "evil"], "␛[777;777H"),
        (["logs", "evil", "--json"], "\\u202e"),
        (["logs", SHORT], "error"),
        (["status"], "␛[777;777H"),
        (["status", "--json"], "\\u202e"),
        (["send", "--file", SHORT], "␛[777;777H"),
        (["--debug", "send", "--file", SHORT], "␛[777;777H"),
        (["no\x1b[777;777H\u202everb"], "error"),
    ],
    ids=lambda value: re.sub(r"\W+", " ", " ".join(value))[:40] if isinstance(value, list) else "",
)
async def test_a_verb_draws_nothing_that_others_wrote(evil: RunningStack, verb: list[str], shows: str) -> None:
    """Messages, titles, model names, log lines and errors are shown, in a real terminal, and steer nothing."""
    for word, found in (("CONVERSATION", conversation), ("LETTER", _letter)):
        verb = [found(evil) if part == word else part for part in verb]
    with terminal(*verb, folder=evil.folder) as shown:
        await shown.ends()
        assert shows in re.sub(r"\s*\n\s*", "", shown.text) or shows in shown.text
        assert_harmless(shown.raw)


def _letter(evil: RunningStack) -> str:
    return str(evil.json("dlq", "list")["dead_letters"][0]["id"])


def test_a_pipe_gets_the_answer_as_it_is(evil: RunningStack) -> None:
    """Bytes of a plain answer are data; JSON has the same data, and no byte of it steers a terminal that shows it."""
    assert evil.cli("send", EVIL).stdout.rstrip("\n") == EVIL.replace("\r", "\n")
    document = evil.cli("send", EVIL, "--json").stdout
    assert json.loads(document)["reply"] == EVIL
    assert _RAW.findall(document.strip()) == []
    lines = evil.cli("logs", "evil", "--json").stdout.splitlines()
    assert EVIL in [json.loads(line).get("field") for line in lines]


# --- the applications ------------------------------------------------------------------------------------------------


class EvilApi(ScriptedApi):
    """Titles, messages, errors and models that mean no good."""

    async def conversations(self, **_: Any) -> dict[str, Any]:
        return {"conversations": [{"conversation_id": "cnv_1", "title": SHORT}], "next_cursor": None}

    async def messages(self, *_: Any, **__: Any) -> dict[str, Any]:
        found = [
            message("user", "job_1", EVIL),
            message(
                "assistant",
                "job_1",
                f"{EVIL}\n\n&#x202e;&rlm;&#27;[777;777H&#155;\n\n```\n{EVIL}\n```\n",
                "done",
                model=SHORT,
            ),
            message("user", "job_2", "fails"),
            message("assistant", "job_2", "", "failed", error={"message": EVIL, "hint": EVIL, "code": "broken"}),
        ]
        return {"messages": found[::-1], "next_cursor": None}

    async def health(self) -> dict[str, Any]:
        return {"workers": [{"routes": [{"provider": "openai", "model": SHORT, "breaker": "open"}]}]}

    async def rename_conversation(self, *_: Any) -> dict[str, Any]:
        raise CloudiaError(SHORT, hint="[@click=app.quit]no[/]")


class EvilSampler(ScriptedSampler):
    """A stack whose parts and logs mean no good."""

    def sample(self) -> Sample:
        part = PartSample("worker", "ready", 1, 1, 1, f"[bold]{SHORT}")
        jobs = tuple(replace(job, worker=SHORT, status=SHORT) for job in super().sample().jobs)
        return replace(super().sample(), parts=(part,), jobs=jobs)

    def trace(self, job_id: str) -> list[str]:
        return [EVIL, f"{EVIL} {job_id}"]


def drawn(app: App[None]) -> str:
    """Return what an application has on its screen, as it goes to the terminal."""
    return "\n".join(strip.render(app.console) for strip in app.screen._compositor.render_strips())


async def test_the_chat_draws_nothing_that_others_wrote(tmp_path: Path) -> None:
    """Titles, questions, Markdown with its entities and its code, errors, models, and an answer that comes in pieces."""
    deltas = [Event("delta", job_id="job_3", attempt=1, data={"text": character}) for character in EVIL]
    client = ScriptedClient(*deltas)
    client.api = EvilApi()
    app = ChatApp(lambda: client, conversation_id="cnv_1", preferences=Preferences(tmp_path / "tui.json"))  # type: ignore[arg-type, return-value]
    async with app.run_test(size=(140, 60), notifications=True) as pilot:
        await eventually(lambda: _seen(pilot, app, "breaker open"))
        await eventually(lambda: _seen(pilot, app, "fails"))
        assert "␛[777;777H" in drawn(app)
        assert "\\u202e" in drawn(app)
        assert_harmless(drawn(app))
        await pilot.press("h", "i", "enter")
        await eventually(lambda: _seen(pilot, app, "end", times=3))
        assert_harmless(drawn(app))
        await pilot.press("f2")
        await eventually(lambda: _seen(pilot, app, "Title of the conversation"))
        assert_harmless(drawn(app))
        await pilot.press("enter")
        await eventually(lambda: _seen(pilot, app, "[@click=app.quit]no"))
        assert_harmless(drawn(app))
        await pilot.press("f8")
        await eventually(lambda: _seen(pilot, app, "Delete “"))
        assert_harmless(drawn(app))


async def _seen(pilot: Any, app: App[None], text: str, *, times: int = 1) -> bool:
    await pilot.pause()
    return _OWN.sub("", drawn(app)).count(text) >= times


async def test_top_draws_nothing_that_others_wrote(tmp_path: Path) -> None:
    """Parts, jobs, the lines of a trace, and the error of a stack that went away. Markup is text, too."""
    app = TopApp(EvilSampler(), preferences=Preferences(tmp_path / "tui.json"))
    async with app.run_test(size=(140, 40)) as pilot:
        await eventually(lambda: app.screen.query_one("#jobs", DataTable).row_count)
        await eventually(lambda: _seen(pilot, app, "[bold]evil"))
        assert_harmless(drawn(app))
        await pilot.press("enter")
        await eventually(lambda: _seen(pilot, app, "evil ␛[777;777H"))
        assert_harmless(drawn(app))

    class Gone(EvilSampler):
        def sample(self) -> Sample:
            raise UnavailableError(EVIL)

    app = TopApp(Gone(), preferences=Preferences(tmp_path / "tui.json"))
    async with app.run_test(size=(140, 40)) as pilot:
        await eventually(lambda: _seen(pilot, app, "␛[777;777H"))
        assert_harmless(drawn(app))


async def test_the_chat_in_a_terminal(evil: RunningStack) -> None:
    """The whole way into a real terminal: the conversation is shown, and none of it is executed."""
    with terminal("chat", "--conversation", conversation(evil), folder=evil.folder) as shown:
        await shown.shows("connected", "␛")
        for sequence in ("\x1b[777;777H", "\x1b]52", "\x1b]8;;http://evil", "\x9b", "\x9d", *MARKS):
            assert sequence not in shown.raw
        shown.type("\x11")
        assert await shown.ends() == 0
