"""The chat over a network that dies without telling anybody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cloudia.client import Client
from cloudia.tui.app import ChatApp
from cloudia.tui.preferences import Preferences
from tests.gateway.lines import line
from tests.gateway.nodes import beside
from tests.support import RunningStack
from tests.tui.test_chat import Chat

if TYPE_CHECKING:
    from pathlib import Path


async def test_i4_a_network_that_swallows_everything(stack: RunningStack, tmp_path: Path) -> None:
    """Events and requests alike: the chat says that it reconnects, and has the whole answer once the network is back."""
    async with (
        beside(stack, tmp_path / "gateway.log", CLOUDIA_GATEWAY_HEARTBEAT_SECONDS="0.5") as node,
        line(node.url) as events,
        line(stack.run["api_url"]) as requests,
    ):
        app = ChatApp(
            lambda: Client(requests.url, events.url, stack.token("tui-lines")),
            preferences=Preferences(tmp_path / "tui.json"),
        )
        async with app.run_test(size=(100, 30)) as pilot:
            chat = Chat(app, pilot)
            await chat.until(lambda: "connected" in chat.status)
            view = await chat.say("over a bad line [[words:150]]")
            await chat.until(lambda: len(view.turn.answer.text) > 20)
            events.silent = requests.silent = True
            await chat.until(lambda: "reconnecting" in chat.status)
            seen = view.turn.answer.text
            events.silent = requests.silent = False
            await chat.ended(view)
            shown = view.turn.conversation_id or ""
            kept = await asyncio.to_thread(stack.json, "conversations", "show", shown, "--user", "tui-lines")
            assert len(seen) < len(view.turn.answer.text)
            assert view.turn.answer.text == kept["messages"][-1]["content"]
