"""What was written is never lost without a word: whatever the browser refuses, and whatever became of the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import eventually
from tests.web.chat import Chat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import BrowserContext, Dialog, Page, Route

    from tests.support import RunningStack

    OpenOn = Callable[[RunningStack], Awaitable[Chat]]

_BLOCKED = """for (const name of ['sessionStorage', 'localStorage'])
    Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError'); } });
window.BroadcastChannel = class { constructor() { throw new DOMException('denied', 'SecurityError'); } };"""

_FILL = """() => { for (let size = 1 << 22; size >= 1; size >>= 1)
    for (;;) try { sessionStorage['full' + sessionStorage.length] = 'x'.repeat(size); } catch { break; } }"""


async def delete(chat: Chat) -> None:
    """Delete the conversation that the page shows, as another client does."""
    async with chat.stack.client() as client:
        await client.api.delete_conversation(chat.page.url.split("#")[1])


async def test_plain_http_on_a_name(stack: RunningStack, page: Page, noise: list[str]) -> None:
    """Where the browser holds back what it keeps for https (random UUIDs), a message is sent all the same."""
    noise += ["WebSocket", "403", "404"]
    there = stack.run["api_url"]

    async def passed_on(route: Route) -> None:
        path = route.request.url.removeprefix("http://chat.test")
        headers = {name: value for name, value in route.request.headers.items() if name not in {"host", "origin"}}
        if path == "/page/config":
            return await route.fulfill(status=403, json={"error": {}})
        return await route.fulfill(response=await route.fetch(url=there + path, headers=headers))

    await page.route("http://chat.test/**", passed_on)
    await page.goto("http://chat.test/")
    assert not await page.evaluate("isSecureContext || 'randomUUID' in crypto")
    await page.get_by_label("Token").fill(stack.token("plain"))
    await page.fill("#sign-in-gateway", "ws://127.0.0.1:9/")
    await page.keyboard.press("Enter")
    chat = Chat(stack, page)
    await chat.say("over plain http [[words:12]]")
    await chat.ended()
    assert "turn 1" in await chat.text()


async def test_blocked_storage_is_told(context: BrowserContext, open_chat: Callable[[], Awaitable[Chat]]) -> None:
    """A browser that keeps nothing for the page: it works, says so, and asks before what is not sent would be lost."""
    await context.add_init_script(_BLOCKED)
    chat = await open_chat()
    await chat.page.get_by_text("keeps nothing for this page").wait_for()
    await chat.say("kept nowhere [[words:12]]")
    await chat.ended()
    await chat.page.locator("#text").press_sequentially("a draft")
    assert await asks_before_leaving(chat.page)


async def test_full_storage_is_told(chat: Chat) -> None:
    """The same where there was room, and is no more."""
    await chat.page.evaluate(_FILL)
    await chat.page.locator("#text").press_sequentially("a draft that has no place")
    await chat.page.get_by_text("keeps nothing for this page").wait_for()
    assert await asks_before_leaving(chat.page)


async def asks_before_leaving(page: Page) -> bool:
    """Try to leave the page, stay if it asks, and tell whether it did."""
    asked: list[str] = []

    async def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.dismiss()

    page.once("dialog", stay)
    await page.close(run_before_unload=True)
    await eventually(lambda: asked or page.is_closed())
    return asked == ["beforeunload"]


async def test_a_refused_message_outlives_a_reload(chat: Chat, noise: list[str]) -> None:
    """What the API refused for good is there again after a reload, until it is sent or discarded."""
    noise.append("422")
    refusal = {"error": {"code": "x", "message": "not so", "hint": "Never."}}
    await chat.page.route("**/messages", lambda route: route.fulfill(status=422, json=refusal))
    await chat.say("do not lose me [[words:12]]")
    await chat.page.get_by_text("Not so. Never.").wait_for()
    await chat.page.reload()
    await chat.page.get_by_text("Not so. Never.").wait_for()
    assert await chat.said.all_text_contents() == ["do not lose me [[words:12]]"]
    await chat.page.unroute("**/messages")
    await chat.page.click('.trouble button:has-text("Discard")')
    await chat.page.reload()
    await chat.connected()
    assert await chat.said.count() == 0


async def test_a_conversation_deleted_elsewhere_takes_nothing_along(chat: Chat, noise: list[str]) -> None:
    """What one reads stays until one leaves it; what one sends into it begins a new conversation."""
    noise.append("404")
    await chat.say("soon gone [[words:12]]")
    await chat.ended()
    before = chat.page.url
    await delete(chat)
    await chat.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await chat.page.locator("#gone:visible").wait_for()
    assert await chat.said.all_text_contents() == ["soon gone [[words:12]]"]
    await chat.say("and now? [[words:12]]")
    await chat.ended()
    assert await chat.said.all_text_contents() == ["and now? [[words:12]]"]
    assert chat.page.url != before
    assert not await chat.page.is_visible("#gone")


@pytest.mark.parametrize("how", ["shown", "left", "loaded"])
async def test_a_message_for_a_conversation_that_is_gone(chat: Chat, noise: list[str], how: str) -> None:
    """It stays with the reason, also when one leaves it or loads the page again, and can be sent as a new one."""
    noise.append("404")
    await chat.say("soon gone [[words:12]]")
    await chat.ended()
    await delete(chat)
    await chat.say("where to? [[words:12]]")
    await chat.page.get_by_text("Not sent.", exact=True).wait_for()
    if how == "left":
        await chat.page.click("#new")
    elif how == "loaded":
        await chat.page.reload()
    if how != "shown":
        await chat.page.get_by_text("What would you like to know?").wait_for(state="hidden")
        assert await chat.said.all_text_contents() == ["where to? [[words:12]]"]
    await chat.page.click('.trouble button:has-text("Try again")')
    await chat.ended()
    assert await chat.said.all_text_contents() == ["where to? [[words:12]]"]


async def test_a_stack_that_came_back_empty(broken: RunningStack, chat_on: OpenOn, noise: list[str]) -> None:
    """The page keeps what it shows and says why; the question that had no answer can be asked again."""
    noise += ["404", "503", "50", "WebSocket"]
    chat = await chat_on(broken)
    await chat.say("before the end [[words:12]]")
    await chat.ended()
    await chat.say("in mid answer [[words:400]]")
    await chat.streaming()
    broken.json("chaos", "engine", "kill")
    await chat.page.locator("#log[aria-busy=false]").wait_for()
    await chat.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await chat.page.locator("#gone:visible").wait_for()
    assert await chat.said.count() == 2
    await chat.say("a new beginning [[words:12]]")
    await chat.ended()
    assert await chat.said.all_text_contents() == ["a new beginning [[words:12]]"]
