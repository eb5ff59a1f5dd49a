"""The stack of a chat is stopped and started again, at other addresses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cloudia.cli.target import find_target
from cloudia.sim.ports import choose_port
from cloudia.tui.app import ChatApp
from cloudia.tui.preferences import Preferences
from tests.support import RunningStack, start_stack, stop_stack
from tests.tui.test_chat import Chat

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_a_stack_that_comes_back_elsewhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chat reconnects by itself, and what is said then is answered, without a word about addresses."""
    folder = tmp_path / "stack"
    folder.mkdir()

    async def started() -> RunningStack:
        ports = {f"CLOUDIA_{part}_PORT": str(choose_port()) for part in ("API", "GATEWAY")}
        return await asyncio.to_thread(lambda: start_stack(folder, CLOUDIA_LLM_MODEL="sim-1", **ports))

    stack = await started()
    try:
        monkeypatch.chdir(folder)
        app = ChatApp(find_target().client, preferences=Preferences(tmp_path / "tui.json"))
        async with app.run_test(size=(100, 30)) as pilot:
            chat = Chat(app, pilot)
            await chat.until(lambda: "connected" in chat.status)
            before = stack.run["api_url"]
            await asyncio.to_thread(stop_stack, stack)
            await chat.until(lambda: "reconnecting" in chat.status)
            stack = await started()
            assert stack.run["api_url"] != before
            await chat.until(lambda: "resumed" in chat.status or "● connected" in chat.status)
            view = await chat.say("are you back? [[words:10]]")
            await chat.ended(view)
            assert view.turn.answer.status == "done"
    finally:
        await asyncio.to_thread(stop_stack, stack)
