"""The terminal applications, chat and top, and what is common to their screens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType

from cloudia.errors import CloudiaError
from cloudia.tui.chat import ChatScreen
from cloudia.tui.preferences import Preferences
from cloudia.tui.top import TopScreen
from cloudia.tui.visible_lines import VisibleLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from textual.filter import LineFilter
    from textual.screen import Screen

    from cloudia.client import Client
    from cloudia.operate.samples import Sampler

__all__ = ["ChatApp", "TopApp"]

_INTERRUPTED = 130
_VISIBLE = VisibleLines()


class _CloudiaApp(App[None]):
    """What the applications share: the style, the theme that is remembered, and the keys of every screen."""

    CSS_PATH = "style.tcss"
    TITLE = "cloudia"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="app.quit", tooltip="Leave; answers go on without you", priority=True),
        Binding("f1", "show_help_panel", "Keys", id="app.keys", tooltip="Show the keys"),
    ]

    def __init__(self, preferences: Preferences | None) -> None:
        # Textual's answer to NO_COLOR is shades of grey, unless the terminal's own colours are asked for: then there are none.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self._preferences = preferences or Preferences()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Add one to Textual's own."""
        return [*super().get_line_filters(), _VISIBLE]

    def action_help_quit(self) -> None:
        """Leave by Ctrl-C, as every verb is left; where text is selected, Textual copies it instead."""
        self.exit(return_code=_INTERRUPTED)

    async def on_mount(self) -> None:
        """Take the theme of the last time."""
        theme = self._preferences.theme()
        if theme in self.available_themes:
            self.theme = theme
        self.theme_changed_signal.subscribe(self, lambda theme: self._preferences.keep_theme(theme.name))


class TopApp(_CloudiaApp):
    """`cloudia top`."""

    def __init__(self, sampler: Sampler, *, preferences: Preferences | None = None) -> None:
        super().__init__(preferences)
        self._sampler = sampler

    async def on_mount(self) -> None:
        """Open the one screen."""
        await self.push_screen(TopScreen(self._sampler))


class ChatApp(_CloudiaApp):
    """`cloudia chat`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f9", "top", "Top", id="app.top", tooltip="Show the parts, the queue and the last jobs", priority=True)
    ]

    def __init__(
        self,
        make_client: Callable[[], Client],
        *,
        sampler: Sampler | None = None,
        conversation_id: str | None = None,
        preferences: Preferences | None = None,
    ) -> None:
        super().__init__(preferences)
        self._make_client = make_client
        self._sampler = sampler
        self._conversation_id = conversation_id
        self._client: Client | None = None

    async def on_mount(self) -> None:
        """Connect, and open the chat."""
        self._client = self._make_client()
        await self._client.__aenter__()
        await self.push_screen(ChatScreen(self._client, conversation_id=self._conversation_id))
        self.run_worker(self._watch_connection(self._client))

    async def _watch_connection(self, client: Client) -> None:
        """Say why, where the gateway refuses us for good."""
        try:
            await client.connected(timeout=float("inf"))
        except CloudiaError as error:
            self.notify(f"{error.message}. {error.hint}".strip(), severity="error", timeout=60, markup=False)

    async def on_unmount(self) -> None:
        """Disconnect."""
        if self._client:
            await self._client.__aexit__(None, None, None)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Add what the chat can do to the command palette."""
        yield from super().get_system_commands(screen)
        if isinstance(screen, ChatScreen):
            yield SystemCommand("New conversation", "Begin a new conversation", screen.action_new)
            yield SystemCommand("Rename conversation", "Give it another title", screen.action_rename)
            yield SystemCommand("Delete conversation", "Forget it and its messages", screen.action_delete)
            yield SystemCommand("Export conversation", "Write it to a Markdown file here", screen.action_export)
            yield SystemCommand("Retry", "Ask the last message again", screen.action_retry)
            yield SystemCommand("Copy answer", "Copy the last answer", screen.action_copy)
            if self._sampler:
                yield SystemCommand("Top", "Show the parts, the queue and the last jobs", self.action_top)

    def action_top(self) -> None:
        """Show the stack."""
        if self._sampler is None:
            self.notify("This stack runs elsewhere: its parts cannot be seen from here.", severity="warning")
        elif not isinstance(self.screen, TopScreen):
            self.push_screen(TopScreen(self._sampler))
