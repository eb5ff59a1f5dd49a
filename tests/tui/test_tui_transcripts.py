"""Recorded transcripts of events through what the TUI draws from: its turn, and the view of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from textual.app import App

from cloudia.client import Client
from cloudia.tui.status_line import turn_text
from cloudia.tui.turn_view import TurnView
from cloudia.tui.turns import Turn, what_happened
from tests.client.test_transcripts import TRANSCRIPTS, Played
from tests.support import eventually

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.widgets import Markdown, Static


class OneTurn(App[None]):
    """An application that shows one turn."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.view = TurnView(turn)

    def compose(self) -> ComposeResult:
        """Show it."""
        yield self.view

    @property
    def answer(self) -> Markdown:
        """The answer that is shown."""
        return self.view.query_one(".answer")  # type: ignore[return-value]

    @property
    def facts(self) -> str:
        """The line below it."""
        facts: Static = self.view.query_one(".facts")  # type: ignore[assignment]
        return str(facts.content)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=[transcript["name"] for transcript in TRANSCRIPTS])
async def test_a_transcript_makes_the_turn(transcript: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn is what the transcript expects, and the view shows its text, its end, and which attempt it was."""
    job_id = next(frame["job_id"] for frame in transcript["events"] if "job_id" in frame)
    client, stream = Client("http://127.0.0.1:9", "ws://127.0.0.1:9", "token"), Played("ws://127.0.0.1:9", "token")
    stream.frames, client.stream = transcript["events"], stream

    async def record(_: str) -> Any:
        return transcript["record"]

    monkeypatch.setattr(client.api, "job", record)
    turn = Turn("why?", job_id=job_id, sent_at=time.monotonic())
    turn.answer.job_id = job_id
    app, expected = OneTurn(turn), transcript["expected"]
    following = client.follow(job_id)
    client._queue(job_id)  # So that a `ready` finds who follows, as in a client that sent the message.
    async with app.run_test(size=(100, 40)) as pilot, client:
        async for event in following:
            turn.apply(event, time.monotonic())
            await app.view.show(event)
        assert {name: getattr(turn.answer, name) for name in expected} == expected
        assert not turn.under_way

        async def shown() -> bool:
            await pilot.pause()
            return app.answer.source == str(expected["text"])

        await eventually(shown)
        most = f" of {expected['max_attempts']}" if expected["max_attempts"] else ""
        assert f"attempt {expected['attempts']}{most}" in turn_text(turn, time.monotonic())
        if expected["status"] == "done":
            assert f"{expected['usage']['output_tokens']} tokens" in app.facts
            assert (f"attempt {expected['attempts']}" in app.facts) == (expected["attempts"] > 1)
        else:
            assert app.facts.startswith(what_happened(turn, 0).partition(" Again in ")[0])
        assert app.view.has_class("problem") == (expected["status"] != "done")
