"""Recorded transcripts of events through what the TUI draws from: its turn, and the view of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from textual.app import App

from cloudia.tui.status_line import turn_text
from cloudia.tui.turn_view import TurnView
from cloudia.tui.turns import Turn, what_happened
from tests.client.test_transcripts import TRANSCRIPTS, client_of
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
    client, job_id = client_of(transcript, monkeypatch)
    turn = Turn("why?", job_id=job_id, sent_at=time.monotonic())
    turn.answer.job_id = job_id
    app, expected = OneTurn(turn), transcript["expected"]
    following = client.follow(job_id)
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
