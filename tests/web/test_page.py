"""A conversation on the page, in a real browser and on the running stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import eventually

if TYPE_CHECKING:
    from tests.web.chat import Chat


async def test_a_message_streams_in(chat: Chat) -> None:
    """The page connects by itself, shows the text as it comes, and goes on in the same conversation."""
    await chat.say("hello from the page [[words:40]]")
    early = await chat.streaming()
    await chat.ended()
    assert len(await chat.text()) > len(early)
    await chat.say("and again? [[words:30]]")
    await chat.ended(count=2)
    assert "hello from the page" in await chat.text(1)
    facts = await chat.page.locator("article.assistant footer .facts").nth(1).text_content() or ""
    assert all(fact in facts for fact in ("sim-1", "tokens", "first token", "in all")), facts
    assert "#cnv_" in chat.page.url


async def test_markdown_is_rendered(chat: Chat) -> None:
    """Headings, lists and code are elements; code has its language and can be copied."""
    await chat.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await chat.say("please explain exponential backoff [[words:120]]")
    await chat.ended()
    body = chat.answers.first
    assert await body.locator("h3, h4").count()
    assert await body.locator("li").count()
    code = body.locator("figure.code").first
    assert await code.locator("figcaption span").first.text_content() in {"python", "bash", "json", "sql"}
    await code.locator("button").click()
    await code.get_by_text("Copied").wait_for()
    assert await chat.page.evaluate("navigator.clipboard.readText()") == await code.locator("code").text_content()


async def test_no_markup_of_a_message_is_run(chat: Chat) -> None:
    """A message full of HTML is shown as its text, in the question and in the answer that quotes it."""
    hostile = (
        "<img src=x onerror=document.title='run'><script>document.title='run'</script>"
        "<a href=javascript:document.title='run'>x</a> [y](javascript:document.title='run') "
        "![z](http://127.0.0.1:9/z.png) <style>*{display:none}</style><iframe src=/></iframe> [[words:60]]"
    )
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url))
    await chat.say(hostile)
    await chat.ended()
    assert await chat.said.first.text_content() == hostile
    assert "<script>" in await chat.text()
    assert await chat.page.locator("#log :is(img, script, style, iframe, [onerror])").count() == 0
    assert await chat.page.locator('#log a[href^="javascript"]').count() == 0
    assert "run" not in (await chat.page.title()).split()
    assert not [url for url in asked if "z.png" in url]
    await chat.page.reload()
    await chat.ended()
    assert await chat.page.locator("#log :is(img, script, style, iframe, [onerror])").count() == 0


async def test_stop_ends_the_answer(chat: Chat) -> None:
    """The stop button cancels the job; what had come stays, and the next message can be sent."""
    await chat.say("a long one [[words:1500]]")
    await chat.streaming()
    await chat.page.click("#stop")
    await chat.ended("cancelled")
    await chat.page.locator(".facts", has_text="Stopped").wait_for()
    assert 0 < len((await chat.text()).split()) < 1000
    await chat.say("again [[words:16]]")
    await chat.ended()


async def test_edit_and_send_again(chat: Chat) -> None:
    """A message's text comes back into the composer, and is sent as a new one; the earlier one stays."""
    await chat.say("the first wording [[words:12]]")
    await chat.ended()
    await chat.page.locator("article.user").first.hover()
    await chat.page.click('article.user button:has-text("Edit")')
    assert await chat.page.input_value("#text") == "the first wording [[words:12]]"
    await chat.page.fill("#text", "the second wording [[words:12]]")
    await chat.page.press("#text", "Enter")
    await chat.ended(count=2)
    assert await chat.said.all_text_contents() == ["the first wording [[words:12]]", "the second wording [[words:12]]"]
    # Escape lets the message be.
    await chat.page.press("#text", "ArrowUp")
    assert await chat.page.input_value("#text") == "the second wording [[words:12]]"
    await chat.page.press("#text", "Escape")
    assert await chat.page.input_value("#text") == ""


async def test_a_second_attempt_is_told(chat: Chat) -> None:
    """Where a stream breaks off, the page says that the answer began again, and which attempt this is."""
    chat.stack.cli("chaos", "llm", "cut", "--count", "1")
    await chat.say("try this [[words:40]]")
    await chat.page.get_by_text("Attempt 2 of 5: the one before failed").wait_for()
    await chat.ended()
    assert "attempt 2 of 5" in (await chat.page.locator("footer .facts").text_content() or "")


async def test_what_is_refused_is_not_lost(chat: Chat, noise: list[str]) -> None:
    """A message that the API does not take says why, stays where one left it, and is sent once all the same."""
    noise += ["503", "404"]
    refusing = True

    async def answer(route: object) -> None:
        if refusing:
            await route.fulfill(status=503, json={"error": {"code": "x", "message": "too busy", "hint": "Later."}})  # type: ignore[attr-defined]
        else:
            await route.continue_()  # type: ignore[attr-defined]

    await chat.page.route("**/messages", answer)
    await chat.say("be patient [[words:12]]")
    await chat.page.get_by_text("Too busy. Later.").wait_for()
    await chat.page.evaluate("location.hash = 'cnv_01m82ns9p2xqamevtfvfmjq5f3'")
    await chat.page.get_by_text("That conversation is gone.").wait_for()
    await chat.page.get_by_text("Too busy. Later.").wait_for()
    refusing = False
    await chat.page.click('.trouble button:has-text("Try again")')
    await chat.ended()
    assert await chat.said.count() == 1
    await chat.page.reload()
    await chat.ended()
    assert await chat.said.count() == 1


async def test_a_message_that_is_too_long_stays(chat: Chat) -> None:
    """Over the limit, the page says by how much and sends nothing."""
    limit = chat.stack.settings.limits_content_bytes
    await chat.page.fill("#text", "ä" * (limit // 2 + 5))
    await chat.page.get_by_text("10 bytes too many").wait_for()
    await chat.page.press("#text", "Enter")
    assert await chat.said.count() == 0
    assert await chat.page.is_disabled("#send")


async def test_the_answer_is_said_once(chat: Chat) -> None:
    """While it streams the log is busy and silent; at the end the whole answer is said in one go."""
    await chat.say("speak [[words:40]]")
    await chat.streaming()
    assert await chat.page.get_attribute("#log", "aria-busy") == "true"
    assert await chat.page.get_attribute("#log", "aria-live") == "off"
    assert await chat.page.text_content("#announcer") == ""
    await chat.ended()
    assert await eventually(lambda: chat.page.text_content("#announcer"))
    spoken = await chat.page.text_content("#announcer") or ""
    assert spoken.startswith("Answer. ")
    assert (await chat.text()).split()[-1] == spoken.split()[-1]
