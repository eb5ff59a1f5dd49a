"""The chat: conversations at the left, turns at the right, the composer below them."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from cloudia.errors import CloudiaError
from cloudia.protocol import MAX_TITLE
from cloudia.tui.composer import Composer
from cloudia.tui.dialogs import AskText, Confirm
from cloudia.tui.status_line import StatusLine, breaker_of, connection_text, turn_text
from cloudia.tui.turn_view import TurnView
from cloudia.tui.turns import Turn, to_markdown, turns_of

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cloudia.client import Client

__all__ = ["ChatScreen"]

_PAGE = 20
"""Messages that are loaded at first, and each time the top is reached."""
_IN_VIEW = 4
"""Turns that are drawn first: a screenful, so that it need not wait for those above it."""
_TICK_SECONDS = 0.2
_HEALTH_SECONDS = 3.0
_NARROW = 70
"""Columns below which the list of conversations gives way."""


class ChatScreen(Screen[None]):
    """A user's conversations."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "new", "New", id="chat.new", tooltip="Begin a new conversation"),
        Binding("escape", "stop", "Stop", id="chat.stop", tooltip="Stop the answer and get the prompt back"),
        Binding("ctrl+b", "toggle_list", "List", id="chat.list", tooltip="Show or hide the list of conversations"),
        Binding("ctrl+o", "search", "Search", id="chat.search", tooltip="Search the titles"),
        Binding("f2", "rename", "Rename", id="chat.rename", tooltip="Rename the conversation"),
        Binding("f8", "delete", "Delete", id="chat.delete", show=False, tooltip="Delete the conversation"),
        Binding("f6", "export", "Export", id="chat.export", show=False, tooltip="Write it to a Markdown file"),
        Binding("f5", "retry", "Retry", id="chat.retry", show=False, tooltip="Ask the last message again"),
        Binding("f3", "copy", "Copy", id="chat.copy", show=False, tooltip="Copy the last answer"),
        Binding("pageup", "page('up')", "Scroll up", show=False, priority=True),
        Binding("pagedown", "page('down')", "Scroll down", show=False, priority=True),
        Binding(
            "end", "follow", "Latest", id="chat.follow", show=False, tooltip="Go to the end, and follow the answer"
        ),
    ]

    def __init__(self, client: Client, *, conversation_id: str | None = None) -> None:
        super().__init__()
        self._client = client
        self._conversation_id = conversation_id
        self._titles: dict[str, str] = {}
        self._older: str | None = None
        self._current: Turn | None = None
        self._health: dict[str, Any] | None = None
        self._resumed_at: float | None = None
        self._was_lost = False

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        with Horizontal():
            with Vertical(id="side"):
                yield Input(placeholder="Search", id="search", compact=True)
                yield OptionList(id="conversations", compact=True)
            with Vertical(id="main"):
                yield VerticalScroll(id="turns", can_focus=False)
                yield Composer(id="composer")
        yield StatusLine(id="status")
        yield Footer()

    async def on_mount(self) -> None:
        """Load what there is, and begin to look after the connection."""
        self.query_one("#turns").anchor()
        self.query_one(Composer).focus()
        self.set_interval(_TICK_SECONDS, self._tick)
        self._look_at_health()
        self._load_list()
        if self._conversation_id:
            self._load(self._conversation_id)
        else:
            await self._show_empty()

    def on_resize(self) -> None:
        """Give the turns the whole width where there is little of it."""
        self.set_class(self.size.width < _NARROW, "narrow")

    # --- conversations ------------------------------------------------------------------------------------------------

    @work(exclusive=True, group="list")
    async def _load_list(self) -> None:
        try:
            found: list[dict[str, Any]] = []
            cursor = None
            while True:
                page = await self._client.api.conversations(limit=100, cursor=cursor)
                found += page["conversations"]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
        except CloudiaError as error:
            self._complain(error)
            return
        self._titles = {one["conversation_id"]: one["title"] for one in found}
        self._show_list()

    def _move_up(self, conversation_id: str) -> None:
        """Put a conversation that was written to at the top of the list; only one that is new has to be asked for."""
        title = self._titles.pop(conversation_id, None)
        if title is None:
            self._load_list()
        else:
            self._titles = {conversation_id: title, **self._titles}
            self._show_list()

    @on(Input.Changed, "#search")
    def _show_list(self) -> None:
        wanted = self.query_one("#search", Input).value.casefold()
        shown = self.query_one("#conversations", OptionList)
        matching = [(key, title) for key, title in self._titles.items() if wanted in title.casefold()]
        shown.set_options(Option(Content(title), id=key) for key, title in matching)
        for index, (key, _) in enumerate(matching):
            if key == self._conversation_id:
                shown.highlighted = index

    @on(OptionList.OptionSelected, "#conversations")
    def _choose(self, event: OptionList.OptionSelected) -> None:
        if event.option_id and event.option_id != self._conversation_id:
            self._load(event.option_id)
        self.query_one(Composer).focus()

    @on(Input.Submitted, "#search")
    def _to_list(self) -> None:
        self.query_one("#conversations").focus()

    @work(exclusive=True, group="load")
    async def _load(self, conversation_id: str) -> None:
        """Show a conversation, its newest turns first of all."""
        try:
            page = await self._client.api.messages(conversation_id, limit=_PAGE, order="desc")
        except CloudiaError as error:
            self._complain(error)
            return
        self._conversation_id, self._older = conversation_id, page["next_cursor"]
        turns = turns_of(reversed(page["messages"]))
        box = self.query_one("#turns", VerticalScroll)
        views = [TurnView(turn) for turn in turns]
        async with self.batch():
            await box.remove_children()
            await box.mount_all(views[-_IN_VIEW:])
        box.anchor()
        if len(views) > _IN_VIEW:
            await box.mount_all(views[:-_IN_VIEW], before=0)
        self._show_list()
        for view in box.query(TurnView):
            if view.turn.under_way:
                self._follow(view)

    @work(exclusive=True, group="older")
    async def _load_older(self) -> None:
        cursor, self._older = self._older, None
        conversation_id = self._conversation_id
        if cursor is None or conversation_id is None:
            return
        try:
            page = await self._client.api.messages(conversation_id, limit=_PAGE, order="desc", cursor=cursor)
        except CloudiaError as error:
            self._older = cursor
            self._complain(error)
            return
        if conversation_id != self._conversation_id:
            return
        self._older = page["next_cursor"]
        box = self.query_one("#turns", VerticalScroll)
        views = [TurnView(turn) for turn in turns_of(reversed(page["messages"]))]
        before = box.virtual_size.height
        await box.mount_all(views, before=0)
        box.call_after_refresh(lambda: box.scroll_to(y=box.virtual_size.height - before, animate=False))

    async def _show_empty(self) -> None:
        box = self.query_one("#turns", VerticalScroll)
        await box.remove_children()
        await box.mount(Static("A new conversation. What would you like to know?", id="empty"))

    async def action_new(self) -> None:
        """Begin a new conversation."""
        self._conversation_id, self._older, self._current = None, None, None
        await self._show_empty()
        self._show_list()
        self.query_one(Composer).focus()

    @work
    async def action_rename(self) -> None:
        """Ask for another title."""
        conversation_id = self._conversation_id
        if conversation_id is None:
            return
        title = await self.app.push_screen_wait(
            AskText("Title of the conversation", self._titles.get(conversation_id, ""), most=MAX_TITLE)
        )
        if title:
            try:
                renamed = await self._client.api.rename_conversation(conversation_id, title)
            except CloudiaError as error:
                self._complain(error)
                return
            self._titles[conversation_id] = renamed["title"]
            self._show_list()

    @work
    async def action_delete(self) -> None:
        """Delete the conversation, once the user has said so."""
        conversation_id = self._conversation_id
        if conversation_id is None:
            return
        title = self._titles.get(conversation_id, "this conversation")
        if await self.app.push_screen_wait(Confirm(f"Delete “{title}” and its messages?", "Delete")):
            try:
                await self._client.api.delete_conversation(conversation_id)
            except CloudiaError as error:
                self._complain(error)
                return
            self._titles.pop(conversation_id, None)
            await self.action_new()

    @work
    async def action_export(self) -> None:
        """Write the whole conversation to a Markdown file in the current folder."""
        if self._conversation_id is None:
            return
        title = self._titles.get(self._conversation_id, "conversation")
        messages: list[dict[str, Any]] = []
        cursor = None
        path = _free_path(title)
        try:
            while True:
                page = await self._client.api.messages(self._conversation_id, limit=100, cursor=cursor)
                messages += page["messages"]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            await asyncio.to_thread(path.write_text, to_markdown(title, turns_of(messages)), encoding="utf-8")
        except CloudiaError as error:
            self._complain(error)
        except OSError as error:
            self.notify(f"{path} cannot be written: {error.strerror}", severity="error", markup=False)
        else:
            self.notify(f"Wrote {path}.", markup=False)

    # --- turns --------------------------------------------------------------------------------------------------------

    @on(Composer.Submitted)
    async def _submit(self, event: Composer.Submitted) -> None:
        await self._begin(event.text)

    @on(TurnView.Retry)
    async def _ask_again(self, event: TurnView.Retry) -> None:
        turn = event.view.turn
        if turn.refused:  # Nothing was accepted, as far as we know: the same key makes it one message in any case.
            turn.refused = ""
            turn.sent_at = time.monotonic()
            self._send(event.view)
        else:
            await self._begin(turn.content)

    async def _begin(self, content: str) -> None:
        turn = Turn(content, conversation_id=self._conversation_id, sent_at=time.monotonic())
        view = TurnView(turn)
        box = self.query_one("#turns", VerticalScroll)
        await box.query("#empty").remove()
        await box.mount(view)
        box.anchor()
        self._send(view)

    @work(group="turns")
    async def _send(self, view: TurnView) -> None:
        """Send a message, then follow its answer."""
        turn = self._current = view.turn
        view.refresh_facts()
        try:
            accepted = await self._client.send(
                turn.content, conversation_id=turn.conversation_id, idempotency_key=turn.key
            )
        except CloudiaError as error:
            turn.refused = f"{error.message}. {error.hint}".strip()
            view.refresh_facts()
            return
        turn.accepted(accepted)
        if self._conversation_id is None:
            self._conversation_id = accepted.conversation_id
        self._move_up(accepted.conversation_id)
        view.refresh_facts()
        await self._show_events(view)

    @work(group="turns")
    async def _follow(self, view: TurnView) -> None:
        """Follow an answer that was under way when its conversation was opened."""
        await self._show_events(view)

    async def _show_events(self, view: TurnView) -> None:
        turn = view.turn
        if turn.job_id is None:
            return
        try:
            async for event in self._client.follow(turn.job_id):
                turn.apply(event, time.monotonic())
                if view.is_attached:
                    await view.show(event)
        except CloudiaError as error:
            self._complain(error)

    async def action_stop(self) -> None:
        """Stop the answer under way, and put its prompt back into the composer."""
        turn = self._current
        composer = self.query_one(Composer)
        if turn is None or not turn.under_way or turn.job_id is None:
            composer.focus()
            return
        try:
            await self._client.api.cancel(turn.job_id)
        except CloudiaError as error:
            self._complain(error)
            return
        if not composer.text.strip():
            composer.fill(turn.content)
        composer.focus()

    def action_retry(self) -> None:
        """Ask the last message again."""
        views = self.query(TurnView)
        if views:
            views.last().action_retry()

    def action_copy(self) -> None:
        """Copy the last answer."""
        views = self.query(TurnView)
        if views:
            views.last().action_copy()

    # --- the rest -----------------------------------------------------------------------------------------------------

    def action_toggle_list(self) -> None:
        """Show or hide the list of conversations."""
        self.toggle_class("no-list" if not self.has_class("narrow") else "with-list")

    def action_search(self) -> None:
        """Go to the search field."""
        self.remove_class("no-list")
        if self.has_class("narrow"):
            self.add_class("with-list")
        self.query_one("#search").focus()

    def action_page(self, way: str) -> None:
        """Scroll the turns, wherever the focus is."""
        box = self.query_one("#turns", VerticalScroll)
        if way == "up":
            if box.scroll_y <= 0:
                self._load_older()
            else:  # Where there is nothing above, it goes on following.
                box.scroll_page_up(animate=False)
        elif box.scroll_y + box.scrollable_content_region.height >= box.max_scroll_y:
            self.action_follow()
        else:
            box.scroll_page_down(animate=False)

    def action_follow(self) -> None:
        """Go to the end of the turns, and stay there while they grow."""
        self.query_one("#turns", VerticalScroll).anchor()

    def _tick(self) -> None:
        """Tell the truth about the connection and the turn, five times a second."""
        stream, now, failure = self._client.stream, time.monotonic(), self._client.failure
        if stream.state == "reconnecting":
            self._was_lost = True
        elif stream.state == "connected" and self._was_lost:
            self._was_lost, self._resumed_at = False, now
        retry_in = stream.retry_at - asyncio.get_running_loop().time() if stream.retry_at else None
        resumed_for = now - self._resumed_at if self._resumed_at else None
        self.query_one(StatusLine).show(
            connection_text(
                stream.state,
                retry_in=retry_in,
                resumed_for=resumed_for,
                why=failure.message if isinstance(failure, CloudiaError) else "",
            ),
            turn_text(self._current, now),
            breaker_of(self._health),
        )
        for view in self.query(TurnView):
            turn = view.turn
            if turn.ended_at and turn.retry_after and now - turn.ended_at < turn.retry_after + 1:
                view.refresh_facts()
        box = self.query_one("#turns", VerticalScroll)
        if self._older and box.scroll_y <= 0 and box.max_scroll_y > 0:
            self._load_older()

    @work(group="health")
    async def _look_at_health(self) -> None:
        while True:
            try:
                self._health = await self._client.api.health()
            except CloudiaError:
                self._health = None
            await asyncio.sleep(_HEALTH_SECONDS)

    def _complain(self, error: CloudiaError) -> None:
        self.notify(f"{error.message}. {error.hint}".strip(), severity="error", timeout=8, markup=False)


def _free_path(title: str) -> Path:
    """Return the path of an export that does not exist yet."""
    stem = re.sub(r"[^\w-]+", "-", title.lower()).strip("-")[:60] or "conversation"
    path, number = Path(f"{stem}.md"), 1
    while path.exists():
        number += 1
        path = Path(f"{stem}-{number}.md")
    return path
