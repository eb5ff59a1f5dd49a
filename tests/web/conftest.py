"""A real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.patience import HANGS
from tests.support import RunningStack, start_stack, stop_stack
from tests.web.chat import Chat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from playwright.async_api import Browser, BrowserContext, Page

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Two errors within two seconds open the breaker: a request that fails and its quick retry do, attempts 2 s apart do not.
_BREAKABLE = {
    "CLOUDIA_WORKER_MAX_ATTEMPTS": "2",
    "CLOUDIA_LLM_BREAKER_ERRORS": "1",
    "CLOUDIA_LLM_BREAKER_WINDOW_SECONDS": "2",
    "CLOUDIA_LLM_BREAKER_OPEN_SECONDS": "5",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in one event loop, the browser's."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture
def noise() -> list[str]:
    """What the page may log as an error: patterns that a test adds, because it breaks something on purpose."""
    return []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, noise: list[str]) -> AsyncIterator[BrowserContext]:
    """A browser as it is before anyone used it, in which tabs are opened. What one logs as an error fails the test."""
    errors: list[str] = []
    context = await browser.new_context(viewport={"width": 1100, "height": 760})
    context.set_default_timeout(HANGS * 1000)

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)

    context.on("page", watch)
    yield context
    await context.close()
    assert [error for error in errors if not any(re.search(pattern, error) for pattern in noise)] == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    """A tab, with nothing in it."""
    return await context.new_page()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def blank(browser: Browser, stack: RunningStack) -> AsyncIterator[Page]:
    """One tab for all that a file tries on the page's modules alone."""
    page = await browser.new_page()
    await page.goto(stack.page_url)
    yield page
    await page.close()


@pytest.fixture
def chat_on(context: BrowserContext) -> Callable[[RunningStack], Awaitable[Chat]]:
    """Open the page of a stack in a new tab, and wait until it is connected."""

    async def opened(on: RunningStack) -> Chat:
        return await Chat.open(on, await context.new_page())

    return opened


@pytest.fixture
def open_chat(stack: RunningStack, chat_on: Callable[[RunningStack], Awaitable[Chat]]) -> Callable[[], Awaitable[Chat]]:
    """Open the page of the shared stack in a new tab, and wait until it is connected."""
    return lambda: chat_on(stack)


@pytest_asyncio.fixture(loop_scope="session")
async def chat(open_chat: Callable[[], Awaitable[Chat]]) -> Chat:
    """The page of the shared stack in a tab, connected."""
    return await open_chat()


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack to break: its jobs have two attempts, and its breaker opens soon and for a few seconds."""
    running = start_stack(tmp_path_factory.mktemp("broken"), CLOUDIA_LLM_MODEL="sim-1", **_BREAKABLE)
    yield running
    stop_stack(running)
