"""The page as a test uses it: what a user does, and what a user sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

    from tests.support import RunningStack


@dataclass(frozen=True)
class Chat:
    """A tab with the page in it."""

    stack: RunningStack
    page: Page

    @classmethod
    async def open(cls, stack: RunningStack, page: Page) -> Chat:
        """Load the page, and wait until it is connected."""
        chat = cls(stack, page)
        await page.goto(stack.page_url)
        await chat.connected()
        return chat

    async def connected(self) -> None:
        """Wait until the page says that it is connected."""
        await self.page.wait_for_selector('#state[data-state="connected"]')

    async def say(self, text: str) -> None:
        """Type a message and send it."""
        await self.page.fill("#text", text)
        await self.page.press("#text", "Enter")

    @property
    def said(self) -> Locator:
        """What the user said, message by message."""
        return self.page.locator("article.user:not([hidden]) .said")

    @property
    def answers(self) -> Locator:
        """The texts of the answers."""
        return self.page.locator("article.assistant .body")

    async def streaming(self) -> str:
        """Wait until an answer's text comes in. Return what there is of it."""
        await self.page.wait_for_function(
            "() => document.querySelector('article.assistant[aria-busy=true] .body')?.textContent.length > 20"
        )
        return await self.text()

    async def ended(self, status: str = "done", count: int = 1) -> None:
        """Wait until this many answers have ended so, and nothing is under way."""
        wanted = self.page.locator(f'article.assistant[data-status="{status}"]')
        await wanted.nth(count - 1).wait_for()
        await self.page.wait_for_selector("#log[aria-busy=false]")

    async def text(self, which: int = -1) -> str:
        """Return an answer's text."""
        return await self.answers.nth(which).text_content() or ""
