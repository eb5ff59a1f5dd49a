"""What is read: wide tables, text from right to left, formulas, paper, old links, and times where a clock is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from benchmarks.bench_clients import long_conversation
from cloudia import ids
from cloudia.cloud.cloud import Cloud
from cloudia.cloud.items import to_item
from tests.patience import HANGS
from tests.support import eventually
from tests.web.chat import Chat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from playwright.async_api import Browser, Page

    from tests.support import RunningStack

TABLE = """| Identifier | Description of the setting | Default | Environment variable | Since |
|---|---|--:|---|---|
| worker.visibility_seconds | How long a message is hidden from others | 60 | `CLOUDIA_WORKER_VISIBILITY_SECONDS` | 0.1 |
| limits.connections_per_user | الحد الأقصى للاتصالات | 100 | `CLOUDIA_LIMITS_CONNECTIONS_PER_USER` | 0.1 |
"""

RIGHT_TO_LEFT = """# كيف تعمل الطوابير

تحفظ الخدمة SQS FIFO ترتيب الرسائل داخل كل مجموعة، و`MessageGroupId` هو اسمها.

1. الرسالة الأولى مع `cloudia send`
2. English in between, with العربية inside
   - עברית בתוך הרשימה

> اقتباس من النص

| العمود | القيمة |
|---|---|
| واحد | 1 |

An English paragraph stays on the left. $E = mc^2$

```python
print("مرحبا")
```
"""

_SHOW = """async text => {
    const { StreamedMarkdown } = await import('/streamed.js');
    const { el } = await import('/dom.js'), body = el('div', { class: 'body' });
    document.getElementById('log').replaceChildren(el('div', { class: 'turns' }, el('article', { class: 'assistant' }, body)));
    new StreamedMarkdown(body).show(text, 0, true);
}"""


@pytest.mark.parametrize("width", [390, 1100])
async def test_a_table_scrolls_before_a_word_is_cut(blank: Page, width: int) -> None:
    """No word of a table is broken between two letters; what does not fit is reached by scrolling in the table alone."""
    await blank.set_viewport_size({"width": width, "height": 760})
    await blank.evaluate(_SHOW, TABLE)
    broken = await blank.evaluate(
        """() => [...document.querySelectorAll('td, th')].flatMap(cell => {
            const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
            for (let node; (node = walker.nextNode()); ) for (const word of node.data.matchAll(/[\\p{L}\\p{N}_]+/gu)) {
                const range = document.createRange();
                range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
                if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) found.push(word[0]);
            }
            return found;
        })"""
    )
    assert broken == []
    assert await blank.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await blank.evaluate("(log => log.scrollWidth <= log.clientWidth)(document.getElementById('log'))")
    assert await blank.evaluate("(box => box.scrollWidth > box.clientWidth)(document.querySelector('.scroll'))")


async def test_text_from_right_to_left(blank: Page) -> None:
    """Each block goes its own way, by its own first letter; code and formulas always go from left to right."""
    await blank.evaluate(_SHOW, RIGHT_TO_LEFT)
    ways = await blank.evaluate(
        """() => Object.fromEntries(Object.entries({
            heading: 'h3', arabic: 'p', item: 'li:nth-child(1)', english: 'li:nth-child(2)', hebrew: 'li li',
            quote: 'blockquote', table: 'table', paragraph: '> p:last-of-type', code: 'pre', math: '.math',
        }).map(([name, selector]) => [name, getComputedStyle(document.querySelector('.body ' + selector)).direction]))"""
    )
    right = {"heading", "arabic", "item", "hebrew", "quote", "table"}
    assert ways == {name: "rtl" if name in right else "ltr" for name in ways}


async def test_what_is_written_goes_its_own_way(chat: Chat) -> None:
    """So do the composer, what was said, line by line, and the titles."""
    await chat.say("שלום עולם\nand English below [[words:12]]")
    await chat.ended()
    for selector in (".said", "#title", "#conversations a", "#text", "#search"):
        assert await chat.page.locator(selector).first.get_attribute("dir") == "auto", selector
    sides = await chat.page.evaluate(
        """() => {
            const said = document.querySelector('.said'), text = said.firstChild, box = said.getBoundingClientRect();
            return [0, 10].map(at => {
                const range = document.createRange();
                range.setStart(text, at); range.setEnd(text, at + 1);
                const letter = range.getBoundingClientRect();
                return letter.left - box.left > box.right - letter.right ? 'right' : 'left';
            });
        }"""
    )
    assert sides == ["right", "left"]


MATH = [
    "$a_1 * b_1 = c_1 * d_1$",
    "$$\\sum_{i=1}^n x_i * y_i$$",
    "\\(f(x) = x^{*}_1 \\text{ and } *y*\\)",
    "\\[\nx = a\n+ b\n- c \\\\\n= d\n\\]",
    "$$\n\\begin{aligned}\na &= b_1 \\\\\n  + c_1\n\\end{aligned}\n$$",
]


@pytest.mark.parametrize("formula", MATH)
async def test_a_formula_is_left_as_it_was_written(blank: Page, formula: str) -> None:
    """Also within emphasis, in an item and below a line of text; what stands around it is Markdown still."""
    line = "\n" not in formula
    around = ["A {} b", "*em {} em*", "**x** {} _y_", "- item {} end"] if line else ["Text:\n{}\nand *more*", "{}"]
    for text in around:
        await blank.evaluate(_SHOW, text.format(formula))
        assert await blank.locator(".body .math").all_text_contents() == [formula], text
    for price in ("from $5 to $10 and *more*", "a $ b $ c *d*"):
        await blank.evaluate(_SHOW, price)
        assert await blank.locator(".body .math").count() == 0
        assert await blank.locator(".body em").count() == 1


async def test_paper_has_all_of_it(chat: Chat) -> None:
    """Printed, a conversation goes over as many pages as it needs, black on white, without what is for the screen."""
    page = chat.page
    await page.evaluate(f"location.hash = '{long_conversation(chat.stack.settings, 12)}'")
    await chat.ended(count=12)
    await page.emulate_media(media="print", color_scheme="dark")
    heights = "[document.body.scrollHeight, document.getElementById('log').scrollHeight, document.body.clientHeight]"
    whole, log, seen = await page.evaluate(heights)
    assert whole >= log > 2 * 760
    assert seen >= log
    pdf = await page.pdf(format="A4")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page/") >= 3
    ink = await page.evaluate("getComputedStyle(document.querySelector('.body')).color")
    paper = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (ink, paper) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)")
    for hidden in ("#sidebar", "#composer", "footer button", "#state"):
        assert not await page.locator(hidden).first.is_visible(), hidden


async def test_printing_loads_the_earlier_messages(chat: Chat) -> None:
    """Ctrl+P reads what was not on the page yet, then prints."""
    conversation = long_conversation(chat.stack.settings, 60)
    await chat.page.evaluate("window.print = () => (window.printed = document.querySelectorAll('section.turn').length)")
    await chat.page.evaluate(f"location.hash = '{conversation}'")
    await chat.page.locator("section.turn").first.wait_for()
    await chat.page.keyboard.press("Control+P")
    assert await eventually(lambda: chat.page.evaluate("window.printed")) == 60


@pytest.fixture
def listed(stack: RunningStack) -> Iterator[Callable[[str, int], str]]:
    """List a conversation of no messages that was last written to in a year of the past. Gone after the test."""
    cloud, made = Cloud(stack.settings), []

    def put(title: str, year: int) -> str:
        made.append(ids.conversation_id())
        at = f"{year}-01-01T00:00:00.000Z"
        row = {"user_id": "local", "conversation_id": made[-1], "title": title, "created_at": at, "updated_at": at}
        cloud.aws.dynamodb.put_item(TableName=cloud.stack.conversations.name, Item=to_item(row))
        return made[-1]

    yield put
    for conversation in made:
        cloud.history.delete("local", conversation)


async def test_a_link_beyond_the_first_hundred(chat: Chat, listed: Callable[[str, int], str]) -> None:
    """A conversation that the list has not come to yet has its title, its place, and can be renamed and deleted."""
    page = chat.page
    old = listed("a very old one", 2020)
    for number in range(101):
        listed(f"an old one, {number}", 2021)
    await page.goto(f"{chat.stack.run['api_url']}/#{old}")
    await page.reload()
    await page.locator("#title", has_text="a very old one").wait_for()
    assert "a very old one" in await page.title()
    link = page.get_by_role("link", name="a very old one")
    assert await link.get_attribute("aria-current") == "page"
    assert await page.locator("#conversations a").count() == 101
    await page.click("#more")
    await page.wait_for_function("() => document.querySelectorAll('#conversations a').length > 101")
    assert await link.count() == 1
    await link.press("F2")
    await page.keyboard.type("a renamed one")
    await page.keyboard.press("Enter")
    await page.locator("#title", has_text="a renamed one").wait_for()


@pytest_asyncio.fixture(params=[-26, 26], loop_scope="session")
async def wrong_clock(browser: Browser, stack: RunningStack, request: pytest.FixtureRequest) -> AsyncIterator[Chat]:
    """The page on a machine whose clock is a day off."""
    context = await browser.new_context()
    context.set_default_timeout(HANGS * 1000)
    shift = """const Right = Date; window.Date = class extends Right {
        constructor(...given) { given.length ? super(...given) : super(Date.now()); }
        static now() { return Right.now() + HOURS * 3600_000; } };""".replace("HOURS", str(request.param))
    await context.add_init_script(shift)
    yield await Chat.open(stack, await context.new_page())
    await context.close()


async def test_a_wrong_clock_is_not_believed(wrong_clock: Chat) -> None:
    """Where this machine's clock is a day off, what was said now is of today, and a wait is as long as it was told."""
    page = wrong_clock.page
    await wrong_clock.say("by a wrong clock [[words:12]]")
    await wrong_clock.ended()
    link = page.locator("a[aria-current=page]")
    await link.wait_for()
    days = await page.locator("#conversations ul", has=link).evaluate_all(
        "lists => lists.map(list => list.getAttribute('aria-label'))"
    )
    assert days == ["Today"]
    recorded = await page.evaluate(
        """async () => {
            const { Turn, TurnView } = await import('/turn.js'), { Api } = await import('/api.js');
            const api = new Api({ access: () => ({ apiUrl: location.origin, token: 'none' }), renew: async () => {} });
            await api.job('job_none').catch(() => {});
            const turn = new Turn({ jobId: 'job_x', content: 'x' });
            turn.reply = { status: 'failed', content: '', created_at: new Date(api.now()).toISOString(),
                error: { message: 'Wait.', retry_after: 30 } };
            return new TurnView(turn, { now: () => api.now() }).error.querySelector('.again').textContent;
        }"""
    )
    assert recorded in {"Try again in 30 s", "Try again in 29 s", "Try again in 31 s"}, json.dumps(recorded)
