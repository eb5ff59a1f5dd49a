"""The web page in a real browser, on the running stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import RunningStack, eventually

if TYPE_CHECKING:
    from playwright.async_api import Page

ANSWER = "article.assistant"
ENDED = "article.assistant footer:not(:empty)"


async def say(page: Page, text: str) -> None:
    """Type a message and send it."""
    await page.fill("#text", text)
    await page.press("#text", "Enter")


async def test_a_message_streams_in(stack: RunningStack, page: Page) -> None:
    """The page connects by itself, shows the text as it comes, and goes on in the same conversation."""
    await page.goto(stack.run["web_url"])
    await page.get_by_text("connected", exact=True).wait_for()
    await say(page, "hello from the page [[words:80]]")
    answer = page.locator(ANSWER).first

    async def length() -> int:
        return len(await answer.text_content() or "")

    early = await eventually(length)
    await page.locator(ENDED).first.wait_for()
    assert await length() > early
    await say(page, "and again? [[words:60]]")
    await page.locator(ENDED).nth(1).wait_for()
    assert "hello from the page" in (await page.locator(ANSWER).nth(1).text_content() or "")


async def test_no_markup_of_a_message_is_run(stack: RunningStack, page: Page) -> None:
    """A message full of HTML is shown as its text, in the question and in the answer that quotes it."""
    await page.goto(stack.run["web_url"])
    await page.get_by_text("connected", exact=True).wait_for()
    await say(page, "<img src=x onerror=document.title='run'><script>document.title='run'</script> [[words:60]]")
    await page.locator(ENDED).first.wait_for()
    assert await page.title() == "cloudia"
    assert await page.locator("main img, main script").count() == 0


async def test_stop_ends_the_answer(stack: RunningStack, page: Page) -> None:
    """The stop button cancels the job; what had come stays, and the next message can be sent."""
    await page.goto(stack.run["web_url"])
    await page.get_by_text("connected", exact=True).wait_for()
    await say(page, "a long one [[words:1500]]")
    await page.locator(ANSWER).first.get_by_text("turn 1").wait_for()
    await page.click("#stop")
    await page.get_by_text("stopped", exact=True).wait_for()
    assert len((await page.locator(ANSWER).first.text_content() or "").split()) < 1000
    await say(page, "again [[words:16]]")
    await page.locator(ENDED).nth(1).wait_for()
