"""The terminal application: one client, the chat, and what is common to all screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType

from cloudia.errors import CloudiaError
from cloudia.tui.chat import ChatScreen
from cloudia.tui.preferences import Preferences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from textual.screen import Screen

    from cloudia.client import Client

__all__ = ["ChatApp"]


class ChatApp(App[None]):
    """`cloudia chat`."""

    CSS_PATH = "style.tcss"
    TITLE = "cloudia"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="app.quit", tooltip="Leave; answers go on without you", priority=True),
        Binding("f1", "show_help_panel", "Keys", id="app.keys", tooltip="Show the keys"),
    ]

    def __init__(
        self,
        make_client: Callable[[], Client],
        *,
        conversation_id: str | None = None,
        preferences: Preferences | None = None,
    ) -> None:
        super().__init__()
        self._make_client = make_client
        self._conversation_id = conversation_id
        self._preferences = preferences or Preferences()
        self._client: Client | None = None

    async def on_mount(self) -> None:
        """Connect, and open the chat."""
        theme = self._preferences.theme()
        if theme in self.available_themes:
            self.theme = theme
        self.theme_changed_signal.subscribe(self, lambda theme: self._preferences.keep_theme(theme.name))
        self._client = self._make_client()
        await self._client.__aenter__()
        await self.push_screen(ChatScreen(self._client, conversation_id=self._conversation_id))
        self.run_worker(self._watch_connection(self._client))

    async def _watch_connection(self, client: Client) -> None:
        """Say why, where the gateway refuses us for good."""
        try:
            await client.connected(timeout=float("inf"))
        except CloudiaError as error:
            self.notify(f"{error.message}. {error.hint}".strip(), severity="error", timeout=60)

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
