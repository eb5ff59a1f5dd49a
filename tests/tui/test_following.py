"""The chat follows an answer as it grows, unless its reader looks at something above."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from textual.containers import VerticalScroll

from cloudia.protocol import Event
from cloudia.tui.app import ChatApp
from cloudia.tui.composer import Composer
from cloudia.tui.preferences import Preferences
from cloudia.tui.turn_view import TurnView
from tests.support import eventually
from tests.tui.scripted import ScriptedClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from textual.pilot import Pilot

    from cloudia.client import Client

_OF = ("job_3", "cnv_1", 1)


class Growing(ScriptedClient):
    """A client whose answer grows when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: asyncio.Queue[int] = asyncio.Queue()

    async def follow(self, _job_id: str) -> AsyncIterator[Event]:
        """Yield as many lines as the test puts into `lines`."""
        yield Event("started", *_OF, {})
        while True:
            yield Event("delta", *_OF, {"text": "- another line\n" * await self.lines.get()})


@asynccontextmanager
async def _growing(tmp_path: Path) -> AsyncIterator[tuple[Growing, Pilot[None], VerticalScroll]]:
    """Open a chat in which an answer has begun."""
    client = Growing()
    app = ChatApp(lambda: cast("Client", client), preferences=Preferences(tmp_path / "tui.json"))
    async with app.run_test(size=(80, 24)) as pilot:
        app.screen.query_one(Composer).fill("grow")
        await pilot.press("enter")
        await eventually(lambda: _settled(pilot, lambda: app.screen.query(TurnView)))
        yield client, pilot, app.screen.query_one("#turns", VerticalScroll)


async def _settled(pilot: Pilot[None], condition: Callable[[], Any]) -> Any:
    """Let the screen take what came, then look."""
    await pilot.pause()
    return condition()


@pytest.mark.parametrize(
    ("keys", "follows"),
    [
        ((), True),
        (("pageup",), False),
        (("pageup", "pagedown"), True),
        (("pageup", "pageup", "pagedown", "pagedown"), True),
        (("pagedown",), True),
        (("pageup", "pageup", "end"), True),
        (("pageup", "x", "home", "end"), False),
        (("pageup", "x", "home", "end", "end"), True),
    ],
)
async def test_keys(tmp_path: Path, keys: tuple[str, ...], *, follows: bool) -> None:
    """Page Down that reaches the end follows again, and so does End, which is the text's first where the cursor is in it."""
    async with _growing(tmp_path) as (client, pilot, box):
        client.lines.put_nowait(80)
        await eventually(lambda: _settled(pilot, lambda: box.max_scroll_y > 60 and box.scroll_y == box.max_scroll_y))
        before = box.max_scroll_y
        await pilot.press(*keys)
        client.lines.put_nowait(20)
        await eventually(lambda: _settled(pilot, lambda: box.max_scroll_y >= before + 20))
        if follows:
            await eventually(lambda: _settled(pilot, lambda: box.scroll_y == box.max_scroll_y))
        else:
            assert box.scroll_y < before


async def test_page_up_where_nothing_is_above(tmp_path: Path) -> None:
    """A conversation that fits the screen goes on being followed when it no longer does."""
    async with _growing(tmp_path) as (client, pilot, box):
        await pilot.press("pageup")
        client.lines.put_nowait(80)
        await eventually(lambda: _settled(pilot, lambda: box.max_scroll_y > 60 and box.scroll_y == box.max_scroll_y))
