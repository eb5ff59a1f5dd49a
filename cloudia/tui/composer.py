"""The composer: several lines, Enter sends, Up and Down go through what was sent before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

if TYPE_CHECKING:
    from textual import events

__all__ = ["Composer"]

_NEW_LINE = frozenset({"shift+enter", "alt+enter", "ctrl+j"})


class Composer(TextArea):
    """Where a message is written."""

    @dataclass
    class Submitted(Message):
        """The user sends a message."""

        text: str

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Send", id="composer.send", tooltip="Send the message", priority=False),
        Binding("ctrl+j", "new_line", "New line", id="composer.new_line", tooltip="Begin a new line (also Alt+Enter)"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, placeholder="Ask something. Enter sends, Ctrl+J begins a new line.", compact=True)
        self._sent: list[str] = []
        self._back = 0
        """How far back in `_sent` the text shown is; 0 is the draft."""
        self._draft = ""

    def action_submit(self) -> None:
        """Send what is written."""
        text = self.text.strip()
        if not text:
            return
        self.remember(text)
        self.clear()
        self.post_message(self.Submitted(text))

    def action_new_line(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def action_cursor_line_end(self, select: bool = False) -> None:  # noqa: FBT001, FBT002 - Textual's interface
        """Go to the end of the line; at the end of the text, End is the conversation's."""
        if self.cursor_at_end_of_text and not select:
            raise SkipAction
        super().action_cursor_line_end(select)

    def remember(self, text: str) -> None:
        """Add a message to the history."""
        if not self._sent or self._sent[-1] != text:
            self._sent.append(text)
        self._back = 0

    def fill(self, text: str) -> None:
        """Put a text into the composer, with the cursor at its end."""
        self.text = text
        self.move_cursor(self.document.end)

    async def _on_key(self, event: events.Key) -> None:
        row, last = self.cursor_location[0], self.document.line_count - 1
        if event.key == "enter":
            self.action_submit()
        elif event.key in _NEW_LINE:
            self.action_new_line()
        elif event.key == "up" and row == 0 and self._back < len(self._sent):
            self._recall(self._back + 1)
        elif event.key == "down" and row == last and self._back:
            self._recall(self._back - 1)
        else:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()

    def _recall(self, back: int) -> None:
        if not self._back:
            self._draft = self.text
        self._back = back
        self.fill(self._sent[-back] if back else self._draft)
