"""The dashboard in a real browser: what whoever runs the stack sees of it, and does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support import RunningStack, eventually, start_stack, stop_stack
from tests.web.test_page_access import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import BrowserContext, Page

_EVIL = "<img src=x onerror=document.title='run'> <b>bold</b> \u202e [[words:5]]"


_SETTINGS = {
    "CLOUDIA_LLM_MODEL": "sim-1",
    "CLOUDIA_LLM_QUICK_RETRY_SECONDS": "0",
    "CLOUDIA_LLM_BREAKER_ERRORS": "1000",
    "CLOUDIA_WORKER_MAX_ATTEMPTS": "3",
}


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose jobs have three attempts of one request each, and whose breaker stays closed."""
    running = start_stack(tmp_path_factory.mktemp("operated"), **_SETTINGS)
    yield running
    stop_stack(running)


async def opened(context: BrowserContext, stack: RunningStack) -> Page:
    """Open the dashboard by the code of the page's address."""
    page = await context.new_page()
    await page.goto(f"{stack.run['api_url']}/dashboard?code={stack.page_code}")
    await page.wait_for_selector('#state[data-state="connected"]')
    return page


@pytest_asyncio.fixture(loop_scope="session")
async def board(context: BrowserContext, operated: RunningStack) -> Page:
    """The dashboard of that stack."""
    return await opened(context, operated)


async def test_a_message_that_failed_and_was_answered(board: Page, operated: RunningStack) -> None:
    """Its attempts, back-off and first text are seen as a waterfall, with why, prompt and answer; reached from the list."""
    operated.cli("chaos", "llm", "500", "--count", "2")
    assert operated.cli("send", "try thrice [[words:8]]").returncode == 0
    await board.get_by_role("link", name="Messages").click()
    row = board.locator("#messages tbody tr").first
    await row.locator("a").click()
    detail = board.get_by_role("region", name="Message", exact=True)
    await detail.locator(".waterfall").wait_for()
    parts = await detail.locator(".waterfall .name").all_text_contents()
    assert [re.sub(r"-off .*", "-off", part) for part in parts if part != "queue"] == [
        "attempt 1",
        "back-off",
        "attempt 2",
        "back-off",
        "attempt 3",
        "first text",
        "streaming",
    ]
    assert "llm_failed" in (await detail.locator(".waterfall .remark").first.text_content() or "")
    assert await detail.locator(".bar[data-failed=true]").count() == 2
    assert "It was answered" in (await detail.locator(".why").text_content() or "")
    prompt, answer = await detail.locator(".text").all_text_contents()
    assert prompt == "try thrice [[words:8]]"
    assert answer
    assert await detail.locator("text=cloudia logs --job").count() == 1
    assert await detail.locator("tbody tr").count() == 3


async def test_a_dead_letter_is_edited_redriven_and_answered(board: Page, operated: RunningStack) -> None:
    """It is looked at with its text, changed, sent again, and answered in its place; the badge counts those that are left."""
    operated.cli("chaos", "llm", "500")
    operated.cli("send", "a bad prompt")
    operated.cli("chaos", "off")
    await board.wait_for_selector("#letters-count:not([hidden])")
    await board.get_by_role("link", name="Dead letters").click()
    await board.locator("#letters tbody a").first.click()
    assert await board.locator("#letter-content").input_value() == "a bad prompt"
    await board.locator("#letter-content").fill("a good one [[words:6]]")
    await board.get_by_role("button", name="Redrive", exact=True).click()
    await board.locator('#message[data-status="done"]').wait_for()
    assert await board.locator("#message .text").first.text_content() == "a good one [[words:6]]"
    await board.wait_for_selector("#letters-count", state="hidden")


async def test_purging_asks_first(board: Page, operated: RunningStack) -> None:
    """Cancel, and Escape, leave the letter where it is; the purge takes it, and says so."""
    operated.cli("chaos", "llm", "500")
    operated.cli("send", "to be purged")
    operated.cli("chaos", "off")
    await board.goto(f"{operated.run['api_url']}/dashboard#letters")
    await board.locator("#letters tbody a").first.click()
    for way in ("Cancel", "Escape", "Purge"):
        await board.locator(".edit").get_by_role("button", name="Purge").click()
        dialog = board.get_by_role("dialog")
        await dialog.wait_for()
        if way == "Escape":
            await board.keyboard.press("Escape")
        else:
            await dialog.get_by_role("button", name=way).click()
        if way != "Purge":
            assert operated.json("dlq", "list")["count"] == 1
    await board.get_by_text("1 letter purged.").first.wait_for()
    assert operated.json("dlq", "list")["count"] == 0


async def test_nothing_of_a_message_is_html(board: Page, operated: RunningStack) -> None:
    """Markup in a prompt, a title and an answer is shown as it is, on each view, and runs nowhere."""
    operated.cli("send", "--", _EVIL)
    await board.get_by_role("link", name="Messages").click()
    await board.locator("#messages tbody a").first.click()
    await board.locator("#message .text").first.wait_for()
    assert await board.locator("#message .text").first.text_content() == _EVIL
    await board.get_by_role("link", name="Conversations").click()
    await board.locator("#conversations-list tbody a").first.click()
    await board.locator("#conversation .text").first.wait_for()
    assert await board.locator("#conversation .text").first.text_content() == _EVIL
    assert await board.locator("main img, main b").count() == 0
    assert "run" not in await board.title()


async def test_the_overview_tells_how_it_is(board: Page, operated: RunningStack) -> None:
    """Parts, LLMs and plots in words; the plots say what they show to a screen reader."""
    await board.locator("#parts tbody tr").nth(5).wait_for()
    names = [name.rstrip() for name in await board.locator("#parts tbody td:first-child").all_text_contents()]
    assert set(operated.run["parts"]) == set(names)
    assert await board.locator("#llms .pill").first.text_content() in {"closed", "open", "half-open"}
    labels = [await plot.get_attribute("aria-label") or "" for plot in await board.locator("#plots svg").all()]
    assert len(labels) == 6
    assert all("now" in label for label in labels)


async def test_when_the_api_is_away(board: Page, noise: list[str]) -> None:
    """It says so, keeps what is seen, and comes back by itself."""
    noise += ["503", "Failed to load"]
    await board.locator("#parts tbody tr").first.wait_for()
    error = {"error": {"code": "aws_unavailable", "message": "AWS cannot be reached", "hint": ""}}
    await board.route("**/operator/**", lambda route: route.fulfill(status=503, json=error))
    await board.locator("#away", has_text="AWS cannot be reached.").wait_for()
    assert await board.text_content("#state-words") == "away"
    assert await board.locator("#parts tbody tr").count() > 3
    await board.unroute("**/operator/**")
    await board.wait_for_selector('#state[data-state="connected"]')
    assert await board.is_hidden("#away")


async def test_it_pauses_while_nobody_looks(board: Page) -> None:
    """A tab in the background asks nothing; looked at again, it asks at once."""
    asked: list[str] = []
    board.on("request", lambda request: asked.append(request.url))
    hide = """hidden => {
        Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    await board.evaluate(hide, True)
    await board.get_by_text("paused", exact=True).wait_for()
    await board.evaluate("new Promise(done => setTimeout(done, 300))")  # A look that was under way ends.
    asked.clear()
    await board.evaluate("new Promise(done => setTimeout(done, 2500))")
    assert asked == []
    await board.evaluate(hide, False)
    await eventually(lambda: any("/operator/live" in url for url in asked))


async def test_a_users_token_opens_nothing(operated: RunningStack, page: Page, noise: list[str]) -> None:
    """Where no token is given out someone signs in; a user's is told to be one, an operator's opens it, neither is in a URL."""
    noise += ["403", "401", "404"]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{operated.run['api_url']}/dashboard")
    users, operators = operated.token("ops"), operated.token("ops", role="operator")
    await page.get_by_label("Token").fill(users)
    await page.keyboard.press("Enter")
    await page.get_by_text("the token is a user's", exact=False).wait_for()
    await page.get_by_label("Token").fill(operators)
    await page.keyboard.press("Enter")
    await page.wait_for_selector('#state[data-state="connected"]')
    await page.reload()
    await page.wait_for_selector('#state[data-state="connected"]')
    assert not [url for url in asked if users.split(".")[2] in url or operators.split(".")[2] in url]


async def test_from_the_page_and_back(context: BrowserContext, operated: RunningStack) -> None:
    """The page links to the dashboard where the local stack opened it, and the dashboard back; no code is asked again."""
    page = await context.new_page()
    await page.goto(operated.page_url)
    await page.wait_for_selector('#state[data-state="connected"]')
    await page.get_by_role("link", name="Dashboard").click()
    await page.get_by_role("heading", name="cloudia dashboard").wait_for()
    await page.wait_for_selector('#state[data-state="connected"]')
    await page.get_by_role("link", name="Chat").click()
    await page.wait_for_selector("#composer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_it(board: Page, operated: RunningStack, scheme: str) -> None:
    """On each view, with something chosen, in its dialogs, and at phone width, where nothing overflows."""
    await board.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    operated.cli("chaos", "llm", "500")
    operated.cli("send", f"for axe {scheme}")
    operated.cli("chaos", "off")
    await board.locator("#parts tbody tr").first.wait_for()
    assert await findings(board) == []
    for view, place in (("Messages", "messages"), ("Dead letters", "letters"), ("Conversations", "conversations-list")):
        await board.set_viewport_size({"width": 1280, "height": 800})
        await board.get_by_role("link", name=view).click()
        await board.locator(f"#{place} tbody a").first.wait_for()
        assert await findings(board) == []
        await board.locator(f"#{place} tbody a").first.click()
        await board.locator("body[data-chosen=true] .split:visible .detail h2").first.wait_for()
        assert await findings(board) == []
        await board.set_viewport_size({"width": 390, "height": 800})
        assert await findings(board) == []
        assert await board.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if view == "Dead letters":
            await board.locator(".edit").get_by_role("button", name="Purge").click()
            assert await findings(board) == []
            await board.keyboard.press("Escape")
        await board.get_by_role("link", name="Back to the list").click()
    operated.cli("dlq", "purge", "--yes")


async def test_the_keyboard_is_enough_for_it(board: Page) -> None:
    """Views, filters and rows are reached by Tab, and what was chosen gets the focus."""
    await board.focus("#skip")
    await board.keyboard.press("Tab")
    await board.keyboard.press("Tab")
    assert await board.evaluate("document.activeElement.textContent") == "Messages"
    await board.keyboard.press("Enter")
    await board.locator("#messages tbody a").first.wait_for()
    await board.get_by_role("button", name="Failed").focus()
    await board.keyboard.press("Space")
    await board.wait_for_selector('#filters [data-filter="unanswered"][aria-pressed="true"]')
    await board.get_by_role("button", name="All").press("Enter")
    await board.locator("#messages tbody a").first.focus()
    await board.keyboard.press("Enter")
    await board.locator("#message h2").wait_for()
    assert await board.evaluate("document.activeElement.id") == "message"
