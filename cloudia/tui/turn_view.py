"""A turn on the screen: the question, the answer as streaming Markdown, and a line of facts or of what went wrong."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Markdown, Static

from cloudia.tui.turns import summary, what_happened
from cloudia.visible import visible

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.widgets.markdown import MarkdownStream

    from cloudia.protocol import Event
    from cloudia.tui.turns import Turn

__all__ = ["TurnView"]

_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


class TurnView(Vertical, can_focus=True):
    """One turn."""

    class Retry(Message):
        """The user asks again."""

        def __init__(self, view: TurnView) -> None:
            super().__init__()
            self.view = view

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "Copy answer", id="turn.copy", tooltip="Copy the answer"),
        Binding("b", "copy_code", "Copy code", id="turn.copy_code", tooltip="Copy the last code block of the answer"),
        Binding("q", "copy_question", "Copy question", id="turn.copy_question", show=False),
        Binding("r", "retry", "Retry", id="turn.retry", tooltip="Send the message again"),
        Binding("up,k", "screen.focus_previous", "Previous", show=False),
        Binding("down,j", "screen.focus_next", "Next", show=False),
    ]

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn
        self._question = Static(visible(turn.content), markup=False, classes="question")
        self._answer = Markdown(visible(turn.answer.text), classes="answer", open_links=False)
        self._facts = Static("", markup=False, classes="facts")
        self._stream: MarkdownStream | None = None

    def compose(self) -> ComposeResult:
        """Put question, answer and facts below each other."""
        yield self._question
        yield self._answer
        yield self._facts

    def on_mount(self) -> None:
        """Show how the turn stands."""
        self.refresh_facts()

    async def on_unmount(self) -> None:
        """Leave no stream behind."""
        await self._end_stream()

    async def show(self, event: Event) -> None:
        """Show an event that the turn has taken."""
        match event.type:
            case "delta":
                if self._stream is None:
                    self._stream = Markdown.get_stream(self._answer)
                await self._stream.write(visible((event.data or {})["text"]))
            case "reset":
                await self._end_stream()
                await self._answer.update("")
        if event.terminal:
            await self._end_stream()
        self.refresh_facts()

    async def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            await stream.stop()

    def refresh_facts(self) -> None:
        """Show the line of facts, or what went wrong; the countdown of an open breaker runs in it."""
        turn = self.turn
        waited = time.monotonic() - turn.ended_at if turn.ended_at else float("inf")
        problem = what_happened(turn, waited)
        line = problem or (self._progress() if turn.under_way else summary(turn))
        if problem and turn.retryable:
            line += "  (r asks again)"
        if turn.answer.resets and turn.under_way:
            line += f" · began anew: {turn.answer.resets[-1].replace('_', ' ')}"
        self._facts.update(visible(line))
        self.set_class(bool(problem), "problem")
        self.set_class(turn.under_way, "under-way")

    def _progress(self) -> str:
        turn = self.turn
        if turn.job_id is None:
            return "sending"
        if turn.started_at is None:
            return "queued"
        if turn.answer.thinking:
            return "reasoning"
        return turn.answer.attempt_text if turn.answer.attempts > 1 else "answering"

    def action_copy(self) -> None:
        """Copy the answer."""
        self._copy(self.turn.answer.text, "answer")

    def action_copy_question(self) -> None:
        """Copy the question."""
        self._copy(self.turn.content, "question")

    def action_copy_code(self) -> None:
        """Copy the answer's last code block."""
        blocks = _FENCE.findall(self.turn.answer.text)
        self._copy(blocks[-1] if blocks else "", "code block")

    def _copy(self, text: str, what: str) -> None:
        if not text:
            self.notify(f"There is no {what} to copy.", severity="warning")
            return
        self.app.copy_to_clipboard(text)
        self.notify(f"Copied the {what}.")

    def action_retry(self) -> None:
        """Ask again, where that makes sense."""
        if self.turn.retryable:
            self.post_message(self.Retry(self))
