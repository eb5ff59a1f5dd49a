"""Pictures of each screen: a change that nobody meant is seen. `CLOUDIA_PICTURES=write` takes them anew."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from textual.widgets import DataTable

from cloudia.protocol import Event
from cloudia.tui.app import ChatApp, TopApp
from cloudia.tui.preferences import Preferences
from tests.support import eventually
from tests.tui.scripted import ScriptedClient, ScriptedSampler

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from textual.app import App

PICTURES = Path(__file__).parent / "pictures"


async def compare(
    app: App[None],
    name: str,
    tmp_path: Path,
    *press: str,
    size: tuple[int, int] = (100, 30),
    ready: Callable[[], object] = lambda: True,
) -> None:
    """Hold what an application shows against its picture; what differs is left in `tmp_path` to look at.

    Keys are pressed once it is `ready`.
    """
    known = PICTURES / f"{name}.svg"
    seen = tmp_path / f"{name}.svg"
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.3)
        await eventually(ready)
        await pilot.press(*press)

        async def same() -> bool:
            await pilot.pause(0.1)
            seen.write_text(app.export_screenshot(title=name))
            return seen.read_text() == known.read_text()

        if os.environ.get("CLOUDIA_PICTURES") == "write":
            await pilot.pause(1)
            known.write_text(app.export_screenshot(title=name))
        await eventually(same)


def chat(tmp_path: Path, *events: Event) -> ChatApp:
    """Return a chat whose client is scripted, in its first conversation."""
    client: Any = ScriptedClient(*events)
    return ChatApp(lambda: client, conversation_id="cnv_1", preferences=Preferences(tmp_path / "tui.json"))


async def test_a_conversation(tmp_path: Path) -> None:
    """A conversation: the list, Markdown with code, the facts, and a dead letter that says where it is."""
    await compare(chat(tmp_path), "conversation", tmp_path, size=(100, 36))


async def test_a_conversation_in_the_light_at_80_by_24(tmp_path: Path) -> None:
    """The same in the light theme, on the smallest terminal that counts."""
    Preferences(tmp_path / "tui.json").keep_theme("textual-light")
    await compare(chat(tmp_path), "conversation-light", tmp_path, size=(80, 24))


async def test_an_attempt_that_began_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second attempt is told while it runs."""
    monkeypatch.setattr("cloudia.tui.chat.time", SimpleNamespace(monotonic=lambda: 100.0))
    ids = ("job_3", "cnv_1", 2)
    events = (
        Event("reset", *ids, {"reason": "new_attempt", "max_attempts": 5}),
        Event("delta", *ids, {"text": "Once **more**."}),
    )
    await compare(chat(tmp_path, *events), "attempt", tmp_path, "h", "i", "enter")


async def test_deleting_asks(tmp_path: Path) -> None:
    """The question before a conversation is deleted, with the harmless answer first."""
    await compare(chat(tmp_path), "delete", tmp_path, "f8")


async def test_top(tmp_path: Path) -> None:
    """Parts, plots, latencies, jobs."""
    app = TopApp(ScriptedSampler(), preferences=Preferences(tmp_path / "tui.json"))
    rows = lambda: app.screen.query_one("#jobs", DataTable).row_count  # noqa: E731
    await compare(app, "top", tmp_path, "p", size=(120, 30), ready=rows)
