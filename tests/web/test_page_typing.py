"""What fingers do: compose, touch, edit, go back, scroll, select. None of it is taken from whoever does it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.patience import HANGS
from tests.support import eventually
from tests.web.chat import Chat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page, Route

    from tests.support import RunningStack


async def compose(page: Page, text: str) -> None:
    """Begin a composition as an input method does, and press the Enter that would end it, in both browsers' ways."""
    cdp = await page.context.new_cdp_session(page)
    await cdp.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})
    await page.evaluate(
        """() => document.activeElement.dispatchEvent(
            new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true }))"""
    )
    await cdp.send("Input.insertText", {"text": text})
    # Safari tells of the Enter after the end of the composition.
    for kind in ("rawKeyDown", "keyUp"):
        await cdp.send("Input.dispatchKeyEvent", {"type": kind, "key": "Enter", "windowsVirtualKeyCode": 229})


async def test_an_enter_that_composes_sends_nothing(chat: Chat) -> None:
    """It ends the composition, in the composer, in a rename and in the search; the next Enter counts."""
    page = chat.page
    await page.focus("#text")
    await compose(page, "日本語")
    assert await chat.said.count() == 0
    assert await page.input_value("#text") == "日本語"
    await page.keyboard.type(" [[words:12]]")
    await page.keyboard.press("Enter")
    await chat.ended()
    await page.get_by_role("link", name="日本語").first.focus()
    await page.keyboard.press("F2")
    await page.keyboard.press("Control+A")
    await compose(page, "題名")
    assert await page.locator("#conversations input").input_value() == "題名"
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="題名").wait_for()
    await page.keyboard.press("Alt+KeyN")
    here = page.url
    await page.focus("#search")
    await compose(page, "題名")
    assert page.url == here


@pytest_asyncio.fixture(loop_scope="session")
async def phone(browser: Browser, stack: RunningStack) -> AsyncIterator[Chat]:
    """The page on a screen that is touched."""
    context = await browser.new_context(viewport={"width": 390, "height": 760}, has_touch=True, is_mobile=True)
    context.set_default_timeout(HANGS * 1000)
    yield await Chat.open(stack, await context.new_page())
    await context.close()


async def test_enter_on_a_touch_screen_is_a_new_line(phone: Chat) -> None:
    """Where there is no Shift at hand Enter begins a line, and the button sends, also while an answer is under way."""
    page = phone.page
    assert await page.get_attribute("#text", "enterkeyhint") == "enter"
    await page.tap("#text")
    await page.keyboard.type("one")
    await page.keyboard.press("Enter")
    await page.keyboard.type("two [[words:200]]")
    await page.tap("#send")
    await phone.streaming()
    await page.keyboard.type("three [[words:12]]")
    await page.tap("#send")
    await phone.ended(count=2)
    assert await phone.said.all_text_contents() == ["one\ntwo [[words:200]]", "three [[words:12]]"]


async def test_a_draft_survives_an_edit(chat: Chat) -> None:
    """What was being written comes back when the edit is sent, or let be, also after a reload in between."""
    page = chat.page
    await chat.say("the first [[words:12]]")
    await chat.ended()
    for end in ("Escape", "Enter", "reload"):
        await page.fill("#text", f"a draft, {end}")
        await page.locator("article.user").first.hover()
        await page.click('article.user button:has-text("Edit")')
        assert await page.input_value("#text") == "the first [[words:12]]"
        if end == "reload":
            await page.reload()
            await chat.connected()
            assert await page.input_value("#text") == "the first [[words:12]]"
            await page.click("#edit-end")
        else:
            await page.press("#text", end)
        assert await page.input_value("#text") == f"a draft, {end}"
        await page.locator("#editing").wait_for(state="hidden")
    await chat.ended(count=2)


async def test_an_example_takes_no_draft(chat: Chat) -> None:
    """An example of the empty page is laid over a draft, which comes back."""
    await chat.page.fill("#text", "my own")
    await chat.page.click("#welcome button >> nth=0")
    assert await chat.page.input_value("#text") == "Why is the sky blue?"
    await chat.page.press("#text", "Escape")
    assert await chat.page.input_value("#text") == "my own"


async def test_back_goes_back(chat: Chat) -> None:
    """From a new conversation to the one before it, and forward again."""
    page = chat.page
    await chat.say("the place to come back to [[words:12]]")
    await chat.ended()
    first = page.url
    await page.click("#new")
    await page.click("#new")
    await page.get_by_text("What would you like to know?").wait_for()
    await page.go_back()
    await chat.ended()
    assert page.url == first
    await page.go_forward()
    await page.get_by_text("What would you like to know?").wait_for()
    await page.go_back()
    await chat.ended()
    await page.keyboard.press("Alt+KeyN")
    await chat.say("another place [[words:12]]")
    await chat.ended()
    await page.go_back()
    await chat.page.locator(".said", has_text="the place to come back to").wait_for()


async def test_enter_during_an_answer_queues_the_message(chat: Chat) -> None:
    """Also before the conversation has a name: what is sent meanwhile is answered in the same one, in order."""
    page, held = chat.page, []

    async def hold(route: Route) -> None:
        held.append(route)

    await page.route("**/messages", hold, times=1)
    await chat.say("first [[words:60]]")
    await eventually(lambda: held)
    await chat.say("second [[words:12]]")
    await chat.say("third [[words:12]]")
    assert await page.input_value("#text") == ""
    await held[0].continue_()
    await page.get_by_text("Waiting for the answer before").first.wait_for()
    await chat.ended(count=3)
    wanted = ["first [[words:60]]", "second [[words:12]]", "third [[words:12]]"]
    assert await chat.said.all_text_contents() == wanted
    shown = chat.stack.json("conversations", "show", page.url.split("#")[1])["messages"]
    assert [message["content"] for message in shown if message["role"] == "user"] == wanted


async def test_stop_stops_what_is_being_answered(chat: Chat) -> None:
    """With one more message waiting, the answer that streams is the one that is stopped; the next follows."""
    await chat.say("a long one [[words:1500]]")
    await chat.streaming()
    await chat.say("the next [[words:12]]")
    await chat.page.get_by_text("Waiting for the answer before").wait_for()
    await chat.page.click("#stop")
    await chat.ended()
    statuses = "[...document.querySelectorAll('article.assistant')].map(each => each.dataset.status)"
    assert await chat.page.evaluate(statuses) == ["cancelled", "done"]


async def test_a_question_mark_can_be_the_first_character(chat: Chat) -> None:
    """It is typed where one writes; elsewhere it shows the shortcuts."""
    await chat.page.focus("#text")
    await chat.page.keyboard.type("?!")
    assert await chat.page.input_value("#text") == "?!"
    assert await chat.page.locator("#keys[open]").count() == 0
    await chat.page.focus("#log")
    await chat.page.keyboard.press("?")
    assert await chat.page.locator("#keys[open]").count() == 1


_AT = "document.getElementById('log').scrollTop"


async def test_one_notch_stops_the_following(chat: Chat) -> None:
    """Whoever scrolls up, however little, reads there; a button says that there is more, and leads to it."""
    page = chat.page
    await page.set_viewport_size({"width": 900, "height": 500})
    await chat.say("scroll [[words:1200]]")
    await page.wait_for_function("() => document.getElementById('log').scrollTop > 300")
    assert not await page.is_visible("#latest")
    await page.mouse.move(500, 200)
    before = await page.evaluate(_AT)
    await page.mouse.wheel(0, -12)
    await page.locator("#latest").wait_for()
    at = await page.evaluate(_AT)
    assert at >= before - 12
    length = len(await chat.text())
    await eventually(lambda: _longer(chat, length + 600))
    assert await page.evaluate(_AT) == at
    await page.click("#latest")
    await page.locator("#latest").wait_for(state="hidden")
    length = len(await chat.text())
    await eventually(lambda: _longer(chat, length + 300))
    assert await page.evaluate(
        "(log => log.scrollHeight - log.scrollTop - log.clientHeight < 2)(document.getElementById('log'))"
    )
    await page.click("#stop")
    await chat.ended("cancelled")


async def _longer(chat: Chat, length: int) -> bool:
    return len(await chat.text()) > length


async def test_a_selection_survives_streaming(chat: Chat) -> None:
    """What is marked while the text comes stays marked to the end, and where it is."""
    page = chat.page
    await page.set_viewport_size({"width": 900, "height": 500})
    await chat.say("select [[words:400]]")
    await page.wait_for_function("() => document.getElementById('log').scrollTop > 200")
    marked = await page.evaluate(
        """() => {
            const blocks = document.querySelectorAll('article.assistant .body > p');
            const walker = document.createTreeWalker(blocks[blocks.length - 1], NodeFilter.SHOW_TEXT);
            let last = walker.nextNode();
            getSelection().setBaseAndExtent(blocks[0], 0, last, Math.min(3, last.length));
            return getSelection().toString();
        }"""
    )
    at = await page.evaluate(_AT)
    await chat.ended()
    assert await page.evaluate("getSelection().toString()") == marked, json.dumps(marked)
    assert await page.evaluate(_AT) == at
