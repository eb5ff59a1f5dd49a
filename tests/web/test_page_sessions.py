"""What a reload, a lost connection and a second tab do to a conversation: nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support import eventually
from tests.web.chat import Chat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page, Route

    from tests.support import RunningStack

    OpenOn = Callable[[RunningStack], Awaitable[Chat]]


def recorded(stack: RunningStack, url: str) -> list[dict[str, str]]:
    """Return the messages of the conversation that a page shows, as the stack has them."""
    shown = stack.json("conversations", "show", url.split("#")[1])
    messages: list[dict[str, str]] = shown["messages"]
    return messages


async def test_i4_a_reload_in_mid_answer_loses_nothing(chat: Chat) -> None:
    """The running answer is rebuilt from the events, goes on, and ends as it is recorded."""
    await chat.say("tell me more about resuming [[words:80]]")
    await chat.streaming()
    await chat.page.reload()
    early = await chat.streaming()
    assert early.startswith("On ")
    assert await chat.page.get_attribute("article.assistant", "aria-busy") == "true"
    await chat.ended()
    facts = await chat.page.locator("footer .facts").text_content() or ""
    assert "first token" in facts
    streamed = await chat.text()
    await chat.page.reload()
    await chat.ended()
    assert await chat.text() == streamed
    assert await chat.said.count() == 1
    assert [message["role"] for message in recorded(chat.stack, chat.page.url)] == ["user", "assistant"]


async def test_a_reload_while_sending_is_one_message(chat: Chat) -> None:
    """A message whose 202 never came is sent again by the page that is loaded next, with the same key."""

    async def cut(route: Route) -> None:
        await route.fetch()  # It arrives; the answer to it does not.
        await chat.page.evaluate("window.arrived = true")

    await chat.page.route("**/messages", cut, times=1)
    await chat.say("only once [[words:12]]")
    await chat.page.wait_for_function("() => window.arrived")
    await chat.page.reload()
    await chat.ended()
    assert await chat.said.all_text_contents() == ["only once [[words:12]]"]
    assert len(recorded(chat.stack, chat.page.url)) == 2


async def test_a_draft_survives_a_reload(chat: Chat) -> None:
    """What was typed and not sent is there again."""
    await chat.page.fill("#text", "not yet")
    await chat.page.reload()
    assert await chat.page.input_value("#text") == "not yet"


async def test_i4_the_gateway_dies_in_mid_answer(broken: RunningStack, chat_on: OpenOn, noise: list[str]) -> None:
    """The page says that it reconnects, resumes where it was, and shows the answer whole."""
    noise.append("WebSocket connection to")
    chat = await chat_on(broken)
    await chat.page.evaluate(
        "() => { window.states = []; const words = document.getElementById('state-words');"
        "new MutationObserver(() => states.push(words.textContent)).observe(words, {childList: true}) }"
    )
    await chat.say("survive the gateway [[words:120]]")
    await chat.streaming()
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url) if "/jobs/" in request.url else None)
    broken.json("chaos", "gateway", "kill")
    await chat.ended()
    await chat.page.wait_for_function("() => states.includes('resumed') || states.includes('connected')")
    assert (await chat.page.evaluate("states"))[:2] == ["reconnecting", "resumed"]
    # A worker that was held up itself may have begun its events anew; what the gateway knew is never lost. Where it was long in
    # coming back, the page has asked for the record meanwhile.
    assert asked or "lost" not in (await chat.page.locator(".note").text_content() or "")
    streamed = await chat.text()
    await chat.page.reload()
    await chat.ended()
    assert await chat.text() == streamed


async def test_a_token_that_ends_in_mid_answer_is_renewed(stack: RunningStack, page: Page, noise: list[str]) -> None:
    """The gateway closes with 4401; the page gets another token, resumes where it was, and nobody has to sign in."""
    noise.append("WebSocket connection to")
    given: list[str] = []

    async def short_lived(route: Route) -> None:
        config = await (await route.fetch()).json()
        if not given:
            config["token"] = stack.token(seconds=3 - 10)  # It is taken for 10 s after its end.
        given.append(config["token"])
        await route.fulfill(json=config)

    closed: list[int] = []
    await page.expose_function("wasClosed", lambda code: closed.append(code))  # noqa: PLW0108 - it is marked
    await page.add_init_script(
        "const Plain = WebSocket; window.WebSocket = class extends Plain {"
        "constructor(...given) { super(...given); this.addEventListener('close', ({code}) => wasClosed(code)) } }"
    )
    await page.route("**/page/config", short_lived)
    chat = await Chat.open(stack, page)
    await chat.say("longer than a token [[words:300]]")
    await chat.streaming()
    await page.wait_for_function("() => document.getElementById('state-words').textContent === 'resumed'")
    assert await page.get_attribute("article.assistant", "aria-busy") == "true"
    await chat.ended()
    assert closed == [4401]
    assert len(given) == 2
    streamed = await chat.text()
    await page.reload()
    await chat.ended()
    assert await chat.text() == streamed
    assert await page.locator("#sign-in[open]").count() == 0


async def test_an_open_breaker_is_told(broken: RunningStack, chat_on: OpenOn) -> None:
    """The friendly error has a countdown; after it, trying again brings the answer."""
    chat = await chat_on(broken)
    broken.json("chaos", "llm", "500")
    await chat.say("are you there? [[words:12]]")
    await chat.ended("failed")
    await chat.page.get_by_text("The LLM is unavailable right now.", exact=True).wait_for()
    again = chat.page.locator("article.assistant button.again")
    assert "Try again in" in (await again.text_content() or "")
    assert await again.get_attribute("aria-disabled") == "true"
    broken.json("chaos", "off")
    await chat.page.wait_for_function("() => !document.querySelector('button.again').hasAttribute('aria-disabled')")
    await again.click()
    await chat.ended()
    assert await chat.said.count() == 2
    assert await chat.page.locator("button.again:visible").count() == 0


async def test_a_dead_letter_says_where_it_is(broken: RunningStack, chat_on: OpenOn) -> None:
    """The turn stays, failed, with the command that shows its dead letter; so it does after a reload."""
    chat = await chat_on(broken)
    broken.json("chaos", "llm", "cut", "--count", "2")
    await chat.say("not today [[words:30]]")
    await chat.ended("dead_lettered")
    job = await chat.page.locator("section.turn").get_attribute("data-job")
    assert await chat.page.locator(".command code").text_content() == f"cloudia dlq show {job}"
    assert (await chat.page.inner_text("article.assistant .trouble")).count("broke off") == 1
    await chat.page.reload()
    await chat.ended("dead_lettered")
    assert await chat.page.locator(".command code").text_content() == f"cloudia dlq show {job}"


async def test_two_tabs_of_one_user(chat: Chat, open_chat: Callable[[], Awaitable[Chat]]) -> None:
    """A second tab sees the list at once, and what is said in the first; each has its own session."""
    await chat.say("from the first tab [[words:20]]")
    await chat.ended()
    other = await open_chat()
    await other.page.click(f'#conversations a[href="{"#" + chat.page.url.split("#")[1]}"]')
    await other.ended()
    await other.say("from the second tab [[words:20]]")
    await other.ended(count=2)
    await chat.ended(count=2)
    assert await chat.said.all_text_contents() == await other.said.all_text_contents()
    assert await chat.answers.all_text_contents() == await other.answers.all_text_contents()
    sessions = [await tab.page.evaluate("JSON.parse(sessionStorage['cloudia.tab']).session") for tab in (chat, other)]
    assert sessions[0] != sessions[1]


async def test_a_duplicated_tab_takes_a_session_of_its_own(
    chat: Chat, open_chat: Callable[[], Awaitable[Chat]]
) -> None:
    """A tab whose session was taken over by its duplicate goes on with a new one, and both stay connected."""
    state = await chat.page.evaluate("sessionStorage['cloudia.tab']")
    await chat.page.context.add_init_script(
        f"if (location.protocol === 'http:') sessionStorage['cloudia.tab'] ??= {json.dumps(state)}"
    )
    twin = await open_chat()
    session = "JSON.parse(sessionStorage['cloudia.tab']).session"

    async def differ() -> bool:
        mine, theirs = await chat.page.evaluate(session), await twin.page.evaluate(session)
        return bool(mine and theirs and mine != theirs)

    await eventually(differ)
    for tab in (chat, twin):
        await tab.connected()
        await tab.say("still here [[words:12]]")
        await tab.ended()
