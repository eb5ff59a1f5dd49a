"""With NO_COLOR nothing is coloured, and what is chosen or focused is still seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual.widgets import OptionList

from cloudia.tui.app import TopApp
from cloudia.tui.preferences import Preferences
from cloudia.tui.turn_view import TurnView
from tests.support import eventually
from tests.tui.scripted import ScriptedSampler
from tests.tui.test_pictures import chat

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import App
    from textual.pilot import Pilot


@pytest.fixture(autouse=True)
def no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for no colour as a user does."""
    monkeypatch.setenv("NO_COLOR", "1")


def looks(app: App[None]) -> list[tuple[str, str]]:
    """Return each piece of text on the screen with its attributes; none has a colour."""
    found = []
    for strip in app.screen._compositor.render_strips():
        for text, style, _ in strip:
            assert style is None or not (style.color and not style.color.is_default), (text, style)
            assert style is None or not (style.bgcolor and not style.bgcolor.is_default), (text, style)
            names = ("bold", "dim", "underline", "reverse")
            found.append((text.strip(), " ".join(name for name in names if style and getattr(style, name))))
    return found


async def until(pilot: Pilot[None], *wanted: tuple[str, str]) -> None:
    """Wait until the screen shows these texts with these attributes."""

    async def shown() -> bool:
        await pilot.pause()
        return set(wanted) <= set(looks(pilot.app))

    await eventually(shown)


async def test_the_chat(tmp_path: Path) -> None:
    """The conversation that is open, the list's cursor, the composer's, the turn in focus, and a dialog's button."""
    app = chat(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, ("What is a fence?", "bold"), ("A", "reverse"))
        assert not app.screen.query_one("#conversations", OptionList).has_focus
        await pilot.press("ctrl+o", "tab")
        await until(pilot, ("What is a fence?", "bold underline"), ("Leases and locks", ""))
        await pilot.press("down")
        await until(pilot, ("Leases and locks", "bold underline"))
        bars = [text for text, _ in looks(app)].count("▌")
        await pilot.press("tab")
        view = app.focused
        assert isinstance(view, TurnView)
        await eventually(lambda: [text for text, _ in looks(app)].count("▌") > bars)
        await pilot.press("f8")
        await until(pilot, ("Keep", "bold reverse"), ("Delete", "bold"))
        await pilot.press("tab")
        await until(pilot, ("Keep", "bold"), ("Delete", "bold reverse"))
        await pilot.press("escape", "ctrl+p", "down")
        await until(pilot, ("Delete conversation", "bold underline"))


async def test_top(tmp_path: Path) -> None:
    """States are words, and the row under the cursor is reversed."""
    app = TopApp(ScriptedSampler(), preferences=Preferences(tmp_path / "tui.json"))
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, ("restarting", ""), ("stack degraded", ""), ("failed", "reverse"), ("done", ""))
        await pilot.press("down")
        await until(pilot, ("failed", ""), ("done", "reverse"))
