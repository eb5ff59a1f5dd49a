"""The chat against a running stack, at the keyboard."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from textual.widgets import Input, OptionList

from cloudia.tui.app import ChatApp
from cloudia.tui.chat import ChatScreen
from cloudia.tui.composer import Composer
from cloudia.tui.preferences import Preferences
from cloudia.tui.status_line import StatusLine
from cloudia.tui.turn_view import TurnView
from tests.support import RunningStack, eventually, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from textual.pilot import Pilot

_numbers = itertools.count(1)


class Chat:
    """A chat that is open, and what it shows."""

    def __init__(self, app: ChatApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def screen(self) -> ChatScreen:
        """The chat's screen."""
        return next(screen for screen in self.app.screen_stack if isinstance(screen, ChatScreen))

    @property
    def turns(self) -> list[TurnView]:
        """The turns that are shown, oldest first."""
        return list(self.screen.query(TurnView))

    @property
    def titles(self) -> list[str]:
        """The titles in the list."""
        options = self.screen.query_one("#conversations", OptionList)
        return [str(options.get_option_at_index(index).prompt) for index in range(options.option_count)]

    @property
    def status(self) -> str:
        """The status line."""
        return str(self.screen.query_one(StatusLine).content)

    def facts(self, index: int = -1) -> str:
        """Return the line below a turn."""
        return str(self.turns[index].query_one(".facts").content)  # type: ignore[attr-defined]

    async def say(self, text: str) -> TurnView:
        """Write a message and send it. Return its turn."""
        before = len(self.turns)
        self.screen.query_one(Composer).focus()
        self.screen.query_one(Composer).fill(text)
        await self.pilot.press("enter")
        await self.until(lambda: len(self.turns) == before + 1)
        return self.turns[-1]

    async def until(self, condition: Any) -> Any:
        """Wait until a condition holds."""

        async def holds() -> Any:
            await self.pilot.pause()
            return condition()

        return await eventually(holds)

    async def ended(self, view: TurnView) -> None:
        """Wait until a turn has ended."""
        await self.until(lambda: view.turn.answer.ended)


@asynccontextmanager
async def chatting(
    stack: RunningStack, tmp_path: Path, *, user: str | None = None, size: tuple[int, int] = (100, 30), **options: Any
) -> AsyncIterator[Chat]:
    """Open the chat of a user that nobody was before."""
    name = user or f"tui-{next(_numbers)}"
    app = ChatApp(lambda: stack.client(name), preferences=Preferences(tmp_path / "tui.json"), **options)
    async with app.run_test(size=size) as pilot:
        chat = Chat(app, pilot)
        await chat.until(lambda: "connected" in chat.status)
        yield chat


async def test_a_message_streams_in(stack: RunningStack, tmp_path: Path) -> None:
    """A message is shown at once, its answer grows, and the facts and the title are there at the end."""
    async with chatting(stack, tmp_path) as chat:
        view = await chat.say("what is a fence? [[words:400]]")  # Long enough to be seen growing on a busy machine.
        grown = set()

        def look() -> bool:
            grown.add(len(view.turn.answer.text))
            return view.turn.answer.ended

        await chat.until(look)
        assert len(grown) > 3
        assert "turn 1" in view.turn.answer.text
        await chat.until(lambda: "tokens" in chat.facts())
        assert "sim-1" in chat.facts()
        await chat.until(lambda: chat.titles == ["what is a fence? [[words:400]]"])
        again = await chat.say("and then? [[words:10]]")
        await chat.ended(again)
        assert "turn 2" in again.turn.answer.text
        assert len(chat.turns) == 2


async def test_escape_stops_and_brings_the_prompt_back(stack: RunningStack, tmp_path: Path) -> None:
    """Escape stops the answer, keeps what came, and puts the prompt back into the composer."""
    async with chatting(stack, tmp_path) as chat:
        view = await chat.say("go on [[words:2000]]")
        await chat.until(lambda: view.turn.answer.text)
        await chat.pilot.press("escape")
        await chat.ended(view)
        assert view.turn.answer.status == "cancelled"
        assert "Stopped." in chat.facts()
        assert chat.screen.query_one(Composer).text == "go on [[words:2000]]"


async def test_conversations_are_listed_searched_renamed_and_deleted(stack: RunningStack, tmp_path: Path) -> None:
    """The keyboard alone: new, search, open, rename, delete with a question first."""
    async with chatting(stack, tmp_path) as chat:
        await chat.ended(await chat.say("apples [[words:5]]"))
        await chat.pilot.press("ctrl+n")
        assert chat.turns == []
        await chat.ended(await chat.say("pears [[words:5]]"))
        await chat.until(lambda: chat.titles == ["pears [[words:5]]", "apples [[words:5]]"])

        await chat.pilot.press("ctrl+o", *"app")
        assert chat.titles == ["apples [[words:5]]"]
        await chat.pilot.press("enter", "down", "enter")
        await chat.until(lambda: [view.turn.content for view in chat.turns] == ["apples [[words:5]]"])
        chat.screen.query_one("#search", Input).value = ""

        await chat.pilot.press("f2")
        chat.app.screen.query_one(Input).value = "Fruit"
        await chat.pilot.press("enter")
        await chat.until(lambda: "Fruit" in chat.titles)

        await chat.pilot.press("f8", "enter")
        await chat.pilot.pause()
        assert "Fruit" in chat.titles  # The harmless answer comes first.
        await chat.pilot.press("f8", "tab", "enter")
        await chat.until(lambda: chat.titles == ["pears [[words:5]]"])
        assert chat.turns == []


async def test_a_conversation_opens_where_it_was(stack: RunningStack, tmp_path: Path) -> None:
    """Its newest turns are shown, older ones when the top is reached, each once; a running answer goes on."""
    user = f"tui-{next(_numbers)}"
    async with stack.client(user) as client:
        conversation = None
        for number in range(15):
            accepted = await client.send(f"message {number} [[words:3]]", conversation_id=conversation)
            conversation = accepted.conversation_id
            async for _ in client.follow(accepted.job_id):
                pass
        running = await client.send("the last [[words:60]]", conversation_id=conversation)
    async with chatting(stack, tmp_path, user=user, conversation_id=conversation) as chat:
        await chat.until(lambda: chat.turns and chat.turns[-1].turn.job_id == running.job_id)
        assert len(chat.turns) < 16
        await chat.until(lambda: chat.turns[-1].turn.answer.status == "done")
        while chat.turns[0].turn.content != "message 0 [[words:3]]":
            await chat.pilot.press("pageup")
            await chat.pilot.pause()
        contents = [view.turn.content for view in chat.turns]
        assert contents == [*(f"message {number} [[words:3]]" for number in range(15)), "the last [[words:60]]"]


async def test_copy_and_export(stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer and its last code block are copied; the conversation becomes a Markdown file that overwrites none."""
    monkeypatch.chdir(tmp_path)
    async with chatting(stack, tmp_path) as chat:
        view = await chat.say("show me code")
        await chat.ended(view)
        await chat.pilot.press("f3")
        assert chat.app.clipboard == view.turn.answer.text
        view.focus()
        await chat.pilot.press("b")
        assert chat.app.clipboard in view.turn.answer.text
        assert "```" not in chat.app.clipboard
        for _ in range(2):
            await chat.pilot.press("f6")
        await chat.until((tmp_path / "show-me-code-2.md").exists)
        await chat.until(lambda: view.turn.answer.text in (tmp_path / "show-me-code.md").read_text())


async def test_the_composer_has_lines_and_a_memory(stack: RunningStack, tmp_path: Path) -> None:
    """Ctrl+J begins a line, Enter sends, an empty message is none, Up and Down walk through what was sent."""
    async with chatting(stack, tmp_path) as chat:
        composer = chat.screen.query_one(Composer)
        await chat.pilot.press("enter", "space", "enter")
        assert chat.turns == []
        composer.clear()
        await chat.pilot.press("a", "ctrl+j", "b", "enter")
        await chat.until(lambda: chat.turns)
        assert chat.turns[0].turn.content == "a\nb"
        await chat.pilot.press("d", "up")
        assert composer.text == "a\nb"
        await chat.pilot.press("down")
        assert composer.text == "d"
        await chat.pilot.press("escape")


async def test_a_small_terminal_is_enough(stack: RunningStack, tmp_path: Path) -> None:
    """At 60 columns the list gives way, and comes with Ctrl+B; at 80 by 24 both are there."""
    async with chatting(stack, tmp_path, size=(60, 20)) as chat:
        side = chat.screen.query_one("#side")
        assert not side.display
        await chat.pilot.press("ctrl+b")
        assert side.display
    async with chatting(stack, tmp_path, size=(80, 24)) as chat:
        assert chat.screen.query_one("#side").display
        assert chat.screen.query_one("#main").size.width > 50


async def test_the_theme_is_remembered(stack: RunningStack, tmp_path: Path) -> None:
    """The next chat has the theme that was chosen in this one."""
    async with chatting(stack, tmp_path) as chat:
        chat.app.theme = "textual-light"
        await chat.pilot.pause()
    async with chatting(stack, tmp_path) as chat:
        assert chat.app.theme == "textual-light"


# --- on a stack that may be broken -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that may be broken: two attempts, and a breaker that opens early and briefly."""
    running = start_stack(
        tmp_path_factory.mktemp("tui"),
        CLOUDIA_WORKER_MAX_ATTEMPTS="2",
        CLOUDIA_LLM_BREAKER_OPEN_SECONDS="3",
        CLOUDIA_LLM_QUICK_RETRY_SECONDS="0",
    )
    yield running
    stop_stack(running)


async def test_a_gateway_that_is_killed_in_mid_answer(own: RunningStack, tmp_path: Path) -> None:
    """I4: the chat reconnects and says so; the answer on the screen is the recorded one."""
    async with chatting(own, tmp_path, user="ann") as chat:
        view = await chat.say("go on [[words:150]]")
        await chat.until(lambda: view.turn.answer.text)
        killed = asyncio.create_task(asyncio.to_thread(own.cli, "chaos", "gateway", "kill"))
        await chat.until(lambda: "reconnecting" in chat.status)
        await killed
        await chat.until(lambda: "resumed" in chat.status)
        await chat.ended(view)
        async with own.client("ann") as client:
            record = await client.api.job(view.turn.job_id or "")
        assert view.turn.answer.text == record["reply"]["content"]


async def test_a_retry_begins_anew_and_a_dead_letter_says_where(own: RunningStack, tmp_path: Path) -> None:
    """A broken stream is reset with the next attempt; after the last one the turn names the dead letter."""
    own.cli("chaos", "llm", "cut", "--rate", "1")
    try:
        async with chatting(own, tmp_path) as chat:
            view = await chat.say("break [[words:40]]")
            await chat.until(lambda: "attempt 2 of 2" in chat.status or view.turn.answer.ended)
            assert view.turn.answer.resets == ["new_attempt"]
            await chat.ended(view)
            assert f"cloudia dlq show {view.turn.job_id}" in chat.facts()
    finally:
        own.cli("chaos", "off")


@pytest.mark.long
async def test_an_open_breaker_counts_down_and_asks_again(own: RunningStack, tmp_path: Path) -> None:
    """The friendly error counts down; `r` asks again, and when the LLM is back it answers."""
    async with chatting(own, tmp_path) as chat:
        own.cli("chaos", "llm", "500", "--rate", "1")
        for number in range(7):
            await chat.say(f"fail {number}")
        await chat.until(lambda: any("unavailable" in chat.facts(index) for index in range(len(chat.turns))))
        await chat.until(lambda: "breaker open" in chat.status)
        own.cli("chaos", "off")
        view = chat.turns[-1]
        await chat.ended(view)
        assert "r asks again" in chat.facts()
        await chat.until(lambda: "Try again now" in chat.facts() or "dlq" in chat.facts())
        view.focus()
        await chat.pilot.press("r")
        await chat.until(lambda: chat.turns[-1].turn.answer.status == "done")
