"""A network that dies without telling anybody, as the page sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest_asyncio

from cloudia.protocol import START
from tests.gateway.lines import Line, line
from tests.gateway.nodes import SCRIPTED_READY, beside, scripted
from tests.support import eventually
from tests.web.chat import Chat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page, Route

    from tests.support import RunningStack

_SPY = (
    "() => { window.states = []; const words = document.getElementById('state-words');"
    "new MutationObserver(() => states.push(words.textContent)).observe(words, {childList: true}) }"
)


async def lead(page: Page, url: str) -> None:
    """Let the page find the gateway at another address."""

    async def config(route: Route) -> None:
        told = await (await route.fetch()).json()
        await route.fulfill(json={**told, "websocket_url": url})

    await page.route("**/page/config", config)


@pytest_asyncio.fixture(loop_scope="session")
async def way(stack: RunningStack, tmp_path: Path) -> AsyncIterator[Line]:
    """A line to a gateway with quick heartbeats."""
    async with (
        beside(stack, tmp_path / "gateway.log", CLOUDIA_GATEWAY_HEARTBEAT_SECONDS="0.5") as node,
        line(node.url) as way,
    ):
        yield way


async def test_i4_a_line_that_swallows_everything_is_left(stack: RunningStack, way: Line, page: Page) -> None:
    """The page says that it reconnects, though nobody closed anything, and has the whole answer once the line is back."""
    await lead(page, way.url)
    chat = await Chat.open(stack, page)
    await page.evaluate(_SPY)
    await chat.say("over a bad line [[words:150]]")
    await chat.streaming()
    way.silent = True
    await page.wait_for_function("() => states.includes('reconnecting')")
    way.silent = False
    await page.wait_for_function("() => states.includes('resumed')")
    await chat.ended()
    streamed = await chat.text()
    await page.reload()
    await chat.ended()
    assert await chat.text() == streamed


async def test_i4_bytes_that_were_swallowed_are_missed(stack: RunningStack, way: Line, page: Page) -> None:
    """A moment in which an answer's text was lost is noticed by what comes after it."""
    await lead(page, way.url)
    chat = await Chat.open(stack, page)
    await chat.say("a moment of silence [[words:150]]")
    await chat.streaming()
    way.swallowed, way.silent = 0, True
    await eventually(lambda: way.swallowed)
    way.silent = False
    await chat.ended()
    streamed = await chat.text()
    assert "lost" not in (
        await page.locator(".note").text_content() or "" if await page.locator(".note").count() else ""
    )
    await page.reload()
    await chat.ended()
    assert await chat.text() == streamed


async def test_a_page_that_wakes_looks_at_once(stack: RunningStack, way: Line, page: Page) -> None:
    """A machine that slept finds its clock further on: the page does not believe in its connection until a frame comes."""
    await lead(page, way.url)
    await Chat.open(stack, page)
    await page.evaluate(_SPY)
    way.silent = True
    await page.evaluate(
        "() => { const now = Date.now; Date.now = () => now() + 60_000; dispatchEvent(new Event('online'));"
        "Date.now = now; }"
    )
    await page.wait_for_function("() => states.length")
    assert await page.evaluate("states[0]") == "reconnecting"
    way.silent = False
    await page.wait_for_function("() => states.includes('resumed')")


_OF = {"job_id": "job_1", "conversation_id": "cnv_1", "attempt": 1}


async def test_i9_what_a_later_version_adds_is_passed_over(stack: RunningStack, page: Page) -> None:
    """Unknown events, with an id or without one, and unknown fields change nothing, and none counts as lost."""
    hellos: list[Any] = []
    frames: list[dict[str, Any]] = [
        {**SCRIPTED_READY, "heartbeat_seconds": 60, "novel": {"a": 1}},
        {"type": "novel"},
        {"type": "novel", "id": "1-0", "after": START},
        {"type": "heartbeat", "after": "1-0", "novel": True},
        {"type": "delta", "id": "2-0", "after": "1-0", "text": "a", "novel": [1], **_OF},
    ]
    async with scripted(frames, hellos) as url:
        await lead(page, url)
        await Chat.open(stack, page)
        # The tab notes the event that it was given last.
        await page.wait_for_function("() => JSON.stringify(Object.values(sessionStorage)).includes('1-0')")
        assert len(hellos) == 1
        await page.close()  # Before its gateway goes.


async def test_i9_a_gateway_that_speaks_a_later_protocol(stack: RunningStack, page: Page) -> None:
    """The page says so, and what to do, instead of guessing."""
    async with scripted([{**SCRIPTED_READY, "protocol": 2}]) as url:
        await lead(page, url)
        await page.goto(stack.page_url)
        await page.get_by_text("The gateway is of a later version: reload the page.").first.wait_for()
        assert await page.get_attribute("#state", "data-state") == "closed"
        await page.close()
