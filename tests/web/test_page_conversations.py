"""The list of conversations: titles, search, rename, delete, and long ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.bench_clients import long_conversation
from tests.support import eventually

if TYPE_CHECKING:
    from playwright.async_api import Request, Route

    from tests.web.chat import Chat


async def titles(chat: Chat) -> list[str]:
    """Return the titles that are listed."""
    return await chat.page.locator("#conversations a").all_text_contents()


async def test_rename_search_and_delete(chat: Chat) -> None:
    """A conversation is listed by its title; it can be found, renamed in place, and deleted after a question."""
    page = chat.page
    await chat.say("quinquereme of Nineveh [[words:12]]")
    await chat.ended()
    await page.get_by_role("link", name="quinquereme").wait_for()

    await page.fill("#search", "nothing like it")
    await page.get_by_text("Nothing has these words.").wait_for()
    await page.fill("#search", "NINEVEH quin")
    assert len(await titles(chat)) == 1
    await page.fill("#search", "")
    await page.wait_for_function("() => !document.querySelector('#conversations small')")

    await page.get_by_role("link", name="quinquereme").focus()
    await page.keyboard.press("F2")
    await page.keyboard.type("A stately galleon")
    await page.keyboard.press("Enter")
    await page.locator("#title", has_text="A stately galleon").wait_for()
    await eventually(
        lambda: chat.stack.json("conversations", "list")["conversations"][0]["title"] == "A stately galleon"
    )

    await page.get_by_role("link", name="A stately galleon").press("Delete")
    await page.get_by_role("button", name="Keep it").click()
    assert "A stately galleon" in await titles(chat)
    await page.get_by_role("link", name="A stately galleon").press("Delete")
    await page.get_by_role("button", name="Delete", exact=True).click()
    await page.get_by_text("What would you like to know?").wait_for()
    assert "A stately galleon" not in await titles(chat)
    listed = chat.stack.json("conversations", "list")["conversations"]
    assert "A stately galleon" not in [each["title"] for each in listed]


async def test_search_asks_once_a_pause(chat: Chat) -> None:
    """What is typed fast is one request; Enter opens what was said, though no title has it."""
    page = chat.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "search=" in request.url else None)
    await chat.say("a title of its own [[words:12]]")
    await chat.ended()
    there = page.url
    await chat.say("zanzibar is nowhere else [[words:12]]")
    await chat.ended(count=2)
    await page.keyboard.press("Alt+KeyN")
    await page.keyboard.press("Alt+KeyK")
    await page.locator("#search").press_sequentially("ZANZIBAR")
    await page.locator("#conversations small", has_text="zanzibar").wait_for()
    assert len(asked) == 1, asked
    await page.keyboard.press("Enter")
    await chat.ended(count=2)
    assert page.url == there
    await page.keyboard.press("Alt+KeyN")
    await page.fill("#search", "")
    await page.get_by_role("link", name="a title of its own").wait_for()
    # At once, before there is an answer: Enter waits for it.
    await page.focus("#search")
    await page.keyboard.type("zanzibar nowhere")
    await page.keyboard.press("Enter")
    await chat.ended(count=2)
    assert page.url == there


async def test_an_outdated_search_is_cancelled(chat: Chat) -> None:
    """What is typed on ends the request before; its answer, however late, is never shown."""
    page = chat.page
    failed: list[str] = []
    held: list[Route] = []

    def note(request: Request) -> None:
        failed.append(f"{request.url} {request.failure}")

    async def hold(route: Route) -> None:
        held.append(route)

    page.on("requestfailed", note)
    await page.route("**/conversations?*search=first*", hold)
    await page.fill("#search", "first-nowhere")
    await eventually(lambda: held)
    await page.get_by_text("Searching…").wait_for()
    await page.fill("#search", "second-nowhere")
    await page.get_by_text("Nothing has these words.").wait_for()
    await eventually(lambda: failed)
    assert "first-nowhere" in failed[0]
    assert "ERR_ABORTED" in failed[0]
    assert not await page.is_visible("#toast")


async def test_a_reload_of_the_list_ends_no_rename(chat: Chat) -> None:
    """What another tab does while a title is being typed leaves the typing alone."""
    page = chat.page
    await chat.say("to be renamed slowly [[words:12]]")
    await chat.ended()
    await page.get_by_role("link", name="to be renamed slowly").focus()
    await page.keyboard.press("F2")
    await page.keyboard.type("a new")
    async with page.expect_response("**/conversations?*"):
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.evaluate("new Promise(requestAnimationFrame)")
    await page.keyboard.type(" title")
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="a new title").wait_for()


async def test_a_conversation_that_is_gone(chat: Chat, noise: list[str]) -> None:
    """A link to what is not there says so and begins a new conversation."""
    noise.append("404")
    await chat.page.evaluate("location.hash = 'cnv_01m82ns9p2xqamevtfvfmjq5f3'")
    await chat.page.get_by_text("That conversation is gone.").wait_for()
    await chat.page.get_by_text("What would you like to know?").wait_for()
    await chat.say("go on [[words:12]]")
    await chat.ended()


async def test_a_long_conversation_is_shown_at_once(chat: Chat) -> None:
    """Of 2,000 messages the newest are on the page at once; older ones come as one scrolls, and nothing jumps.

    It takes 85 to 190 ms on a machine with nothing else to do; the other tests take most of this one.
    """
    conversation_id = long_conversation(chat.stack.settings, 1000)
    took = []
    for _ in range(3):
        await chat.page.evaluate("location.hash = ''; document.getElementById('new').click()")
        took.append(
            await chat.page.evaluate(
                """id => new Promise(done => {
                    const began = performance.now();
                    const drawn = () => setTimeout(() => done(performance.now() - began));
                    const look = () => requestAnimationFrame(document.querySelector('article.assistant') ? drawn : look);
                    location.hash = id;
                    look();
                })""",
                conversation_id,
            )
        )
    print(f"first frame of 2,000 messages: {min(took):.0f} ms of {[round(each) for each in took]}")
    assert min(took) < 1000
    assert "999" in await chat.text()
    before = await chat.answers.count()
    await chat.page.evaluate("document.getElementById('log').scrollTop = 200")
    top = "document.querySelector('article.assistant').getBoundingClientRect().top"
    held = await chat.page.evaluate_handle("document.querySelector('article.assistant')")
    at = await chat.page.evaluate(top)
    await eventually(lambda: _more(chat, before))
    assert abs(await held.evaluate("element => element.getBoundingClientRect().top") - at) < 2


async def _more(chat: Chat, before: int) -> bool:
    return await chat.answers.count() > before
