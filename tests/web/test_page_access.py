"""The page for everyone: keyboard, small screens, dark rooms, assistive technology, and those who must sign in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.test_page_reading import RIGHT_TO_LEFT, TABLE

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.support import RunningStack
    from tests.web.chat import Chat

ALL_OF_MARKDOWN = """async text => {
    const { StreamedMarkdown } = await import('/streamed.js');
    new StreamedMarkdown(document.querySelector('article.assistant .body')).show(text, 0, true);
}"""

_AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()


async def findings(page: Page) -> list[str]:
    """Return what axe-core finds, of whatever weight."""
    await page.evaluate(_AXE)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html'][:160]} {node.get('failureSummary')}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(chat: Chat, scheme: str, noise: list[str]) -> None:
    """On each view: empty, streaming, with code, tables and failed turns, in the list, in the dialogs, at phone width."""
    page = chat.page
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    noise += ["503", "404"]
    assert await findings(page) == []
    await chat.say("please explain exponential backoff [[words:120]]")
    await chat.streaming()
    await page.fill("#text", "and more " * 2)
    assert await findings(page) == []
    await page.fill("#text", "")
    await chat.ended()
    chat.stack.cli("chaos", "llm", "400", "--count", "1")
    await chat.say("and now fail")
    await chat.ended("failed")
    await page.hover("article.user")
    await page.evaluate(
        ALL_OF_MARKDOWN, TABLE + RIGHT_TO_LEFT + "\n- [x] done\n\n![i](https://example.org/i.png)\n\n<b>x</b>\n"
    )
    assert await findings(page) == []
    await page.route(
        "**/messages", lambda route: route.fulfill(status=503, json={"error": {"code": "x", "message": "busy"}})
    )
    await chat.say("refuse this")
    await page.get_by_text("Not sent.", exact=True).wait_for()
    await page.click('article.user button:has-text("Edit") >> nth=0')
    await page.evaluate("for (const id of ['gone', 'latest', 'toast']) document.getElementById(id).hidden = false")
    assert await findings(page) == []
    await page.fill("#search", "exponential")
    await page.locator("#conversations a").first.wait_for()
    await page.locator("#conversations a").first.hover()
    assert await findings(page) == []
    await page.locator("#conversations a").first.press("F2")
    assert await findings(page) == []
    await page.keyboard.press("Escape")
    await page.locator("#conversations a").first.press("Delete")
    assert await findings(page) == []
    await page.keyboard.press("Escape")
    await page.click("#help")
    assert await findings(page) == []
    await page.keyboard.press("Escape")
    await page.evaluate("document.getElementById('sign-in').showModal()")
    assert await findings(page) == []
    await page.evaluate("document.getElementById('sign-in').close()")
    await page.set_viewport_size({"width": 380, "height": 740})
    assert await findings(page) == []
    await page.click("#menu")
    assert await findings(page) == []


async def test_dark_and_light(chat: Chat) -> None:
    """The page follows the system; a choice is remembered, and drawn from the first frame on."""
    page, paper = chat.page, "getComputedStyle(document.documentElement).backgroundColor"
    await page.emulate_media(color_scheme="light")
    light = await page.evaluate(paper)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(paper)
    assert light != dark
    await page.get_by_role("button", name="Theme: auto").click()
    assert await page.evaluate(paper) == light
    await page.reload()
    assert await page.evaluate(paper) == light


async def test_the_keyboard_is_enough(chat: Chat) -> None:
    """Everything can be reached and done without a mouse, and the focus is always seen."""
    page = chat.page
    await page.keyboard.type("by keyboard [[words:900]]")
    await page.keyboard.press("Enter")
    await chat.streaming()
    await page.keyboard.press("Escape")
    await chat.ended("cancelled")
    await page.keyboard.type("one line")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("another [[words:12]]")
    await page.keyboard.press("Enter")
    await chat.ended()
    assert await chat.said.nth(1).text_content() == "one line\nanother [[words:12]]"
    first = page.url
    await page.keyboard.press("Alt+KeyN")
    await page.get_by_text("What would you like to know?").wait_for()
    await page.keyboard.press("Alt+KeyK")
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await chat.ended()
    assert page.url == first
    await page.focus("#log")
    await page.keyboard.press("?")
    await page.get_by_role("heading", name="Keyboard shortcuts").wait_for()
    await page.keyboard.press("Escape")
    await page.focus("#skip")
    for _ in range(12):
        await page.keyboard.press("Tab")
        seen = await page.evaluate(
            """() => {
                const at = document.activeElement, box = at.closest('.box');
                if (at === document.body || getComputedStyle(at).outlineStyle !== 'none') return true;
                return box && getComputedStyle(box).boxShadow !== 'none';
            }"""
        )
        assert seen, await page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


async def test_phone_width(chat: Chat) -> None:
    """On a narrow screen nothing overflows; the list is a drawer that takes the focus, and Escape closes it."""
    page = chat.page
    await page.set_viewport_size({"width": 360, "height": 640})
    await chat.say("x" * 200 + " please explain [[words:120]]")
    await chat.ended()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate("document.getElementById('log').scrollWidth <= innerWidth")
    assert not await page.is_visible("#search")
    await page.click("#menu")
    await page.wait_for_selector("#search")
    assert await page.evaluate("document.getElementById('main').inert")
    assert await page.evaluate("document.getElementById('sidebar').contains(document.activeElement)")
    await page.keyboard.press("Escape")
    await page.wait_for_selector("#search", state="hidden")
    assert await page.get_attribute("#menu", "aria-expanded") == "false"


async def test_nothing_moves_where_that_is_asked(chat: Chat) -> None:
    """With reduced motion there is no animation and no transition."""
    await chat.page.emulate_media(reduced_motion="reduce")
    await chat.say("still [[words:30]]")
    await chat.streaming()
    assert await chat.page.evaluate("document.getAnimations().length") == 0
    await chat.ended()


async def test_sign_in_elsewhere(stack: RunningStack, page: Page, noise: list[str]) -> None:
    """Where no token is given out there is a field for one; a wrong one is told, and none is ever in a URL."""
    noise += ["403", "404", "401"]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.route("**/page/config", lambda route: route.fulfill(status=403, json={"error": {}}))
    await page.goto(stack.page_url)
    for token in ("wrong", stack.token("elsewhere")):
        await page.get_by_label("Token").fill(token)
        await page.fill("#sign-in-gateway", stack.run["websocket_url"])
        await page.keyboard.press("Enter")
        if token == "wrong":
            await page.get_by_text("Your token was refused.").wait_for()
    await page.wait_for_selector('#state[data-state="connected"]')
    await page.reload()
    await page.wait_for_selector('#state[data-state="connected"]')
    assert not [url for url in asked if stack.token("elsewhere").split(".")[1] in url]
    assert await page.locator("#conversations a").count() == 0
