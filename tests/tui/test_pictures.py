"""Pictures of each screen: a change that nobody meant is seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cloudia.protocol import Event
from cloudia.tui.app import ChatApp, TopApp
from cloudia.tui.preferences import Preferences
from tests.tui.scripted import ScriptedClient, ScriptedSampler

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from textual.pilot import Pilot


def chat(tmp_path: Path, *events: Event) -> ChatApp:
    """Return a chat whose client is scripted, in its first conversation."""
    client: Any = ScriptedClient(*events)
    return ChatApp(lambda: client, conversation_id="cnv_1", preferences=Preferences(tmp_path / "tui.json"))


def test_a_conversation(snap_compare: Any, tmp_path: Path) -> None:
    """A conversation: the list, Markdown with code, the facts, and a dead letter that says where it is."""
    assert snap_compare(chat(tmp_path), terminal_size=(100, 36))


def test_a_conversation_in_the_light_at_80_by_24(snap_compare: Any, tmp_path: Path) -> None:
    """The same in the light theme, on the smallest terminal that counts."""
    Preferences(tmp_path / "tui.json").keep_theme("textual-light")
    assert snap_compare(chat(tmp_path), terminal_size=(80, 24))


def test_an_attempt_that_began_anew(snap_compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second attempt is told while it runs."""
    monkeypatch.setattr("cloudia.tui.chat.time", SimpleNamespace(monotonic=lambda: 100.0))
    ids = ("job_3", "cnv_1", 2)
    events = (Event("reset", *ids, {"reason": "new_attempt"}), Event("delta", *ids, {"text": "Once **more**."}))

    async def ask(pilot: Pilot[None]) -> None:
        await pilot.press("h", "i", "enter")
        await pilot.pause(0.1)

    assert snap_compare(chat(tmp_path, *events), terminal_size=(100, 30), run_before=ask)


def test_deleting_asks(snap_compare: Any, tmp_path: Path) -> None:
    """The question before a conversation is deleted, with the harmless answer first."""
    assert snap_compare(chat(tmp_path), press=["f8"], terminal_size=(100, 30))


def test_top(snap_compare: Any, tmp_path: Path) -> None:
    """Parts, plots, latencies, jobs."""
    app = TopApp(ScriptedSampler(), preferences=Preferences(tmp_path / "tui.json"))
    assert snap_compare(app, press=["p"], terminal_size=(120, 30))
