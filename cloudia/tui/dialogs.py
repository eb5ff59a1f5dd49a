"""Small questions over the screen: a text, or yes and no."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label

if TYPE_CHECKING:
    from textual.app import ComposeResult

__all__ = ["AskText", "Confirm"]

_ESCAPE = Binding("escape", "give_up", "Cancel", id="dialog.cancel")


class AskText(ModalScreen[str | None]):
    """Asks for a line of text; None where the user gives up."""

    BINDINGS: ClassVar[list[BindingType]] = [_ESCAPE]

    def __init__(self, question: str, value: str, *, most: int) -> None:
        super().__init__()
        self._question, self._value, self._most = question, value, most

    def compose(self) -> ComposeResult:
        """Ask."""
        with Vertical(classes="dialog"):
            yield Label(self._question, markup=False)
            yield Input(self._value, max_length=self._most)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the text."""
        self.dismiss(event.value.strip() or None)

    def action_give_up(self) -> None:
        """Leave everything as it is."""
        self.dismiss(None)


class Confirm(ModalScreen[bool]):
    """Asks whether to do something that cannot be undone."""

    BINDINGS: ClassVar[list[BindingType]] = [_ESCAPE]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question, self._yes = question, yes

    def compose(self) -> ComposeResult:
        """Ask, with the harmless answer first."""
        with Vertical(classes="dialog"):
            yield Label(self._question, markup=False)
            with Horizontal():
                yield Button("Keep", id="keep")
                yield Button(self._yes, id="yes", variant="error")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the answer."""
        self.dismiss(event.button.id == "yes")

    def action_give_up(self) -> None:
        """Leave everything as it is."""
        self.dismiss(result=False)
