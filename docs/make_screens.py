"""Make the pictures of `cloudia chat` and `cloudia top`, each on a stack that runs.

python docs/make_screens.py
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cloudia.cli.top import make_sampler
from cloudia.client import Client
from cloudia.cloud.identity import issue_token
from cloudia.local.project import Project
from cloudia.tui.app import ChatApp, TopApp
from cloudia.tui.composer import Composer
from cloudia.tui.preferences import Preferences
from cloudia.tui.turn_view import TurnView

if TYPE_CHECKING:
    from textual.app import App
    from textual.pilot import Pilot

IMAGES = Path(__file__).parent / "images"
CLI = [sys.executable, "-m", "cloudia"]
SIZE = (104, 34)


def main() -> None:
    """Start a stack, ask, take the pictures, stop the stack."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = subprocess.run([*CLI, "up", "--detach", "--json"], cwd=folder, check=True, capture_output=True, text=True)
        try:
            asyncio.run(_chat(folder, json.loads(out.stdout)))
            asyncio.run(_top(folder))
        finally:
            subprocess.run([*CLI, "down"], cwd=folder, check=True)


async def _chat(folder: Path, run: dict[str, str]) -> None:
    token = issue_token(Project(folder).secrets().token, "ann")
    async with Client(run["api_url"], run["websocket_url"], token) as client:
        for question in ("How does a lease differ from a lock?", "Name three kinds of cloud", "Plan a day in Lisbon"):
            async for _ in client.ask(f"{question} [[words:10]]"):
                pass
            conversation = (await client.api.conversations())["conversations"][0]["conversation_id"]
            await client.api.rename_conversation(conversation, question)
    app = ChatApp(
        lambda: Client(run["api_url"], run["websocket_url"], token), preferences=Preferences(folder / "tui.json")
    )
    async with app.run_test(size=SIZE) as pilot:
        await _ask(pilot, "Why is the sky blue?")
        view = app.screen.query(TurnView).last()
        while not view.turn.answer.ended:
            await pilot.pause(0.1)
        await _ask(pilot, "And at sunset?")
        await pilot.pause(1.5)
        _save(app, "chat")


async def _ask(pilot: Pilot[None], text: str) -> None:
    pilot.app.screen.query_one(Composer).fill(text)
    await pilot.press("enter")
    await pilot.pause(0.2)


async def _top(folder: Path) -> None:
    app = TopApp(
        make_sampler(Project(folder)),
        preferences=Preferences(folder / "tui.json"),
    )
    async with app.run_test(size=SIZE) as pilot:
        for number in range(24):
            sending = [*CLI, "send", f"question {number} [[words:{10 + number * 4 % 50}]]", "--no-wait"]
            await asyncio.to_thread(subprocess.run, sending, cwd=folder, check=True, capture_output=True)
            await pilot.pause(0.2)
        await pilot.pause(2)
        _save(app, "top")


def _save(app: App[None], name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / f"{name}.svg").write_text(app.export_screenshot(title=f"cloudia {name}"))


if __name__ == "__main__":
    main()
