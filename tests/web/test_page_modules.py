"""The page's modules by themselves, in the browser: what the events make, and Markdown as it grows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.support import RunningStack

_TRANSCRIPTS: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "transcripts/answers.json").read_text())

_PLAY = """async transcripts => {
    const { Answer } = await import('/answer.js'), { Following, fromRecord, isAfter } = await import('/events.js');
    return transcripts.map(({ events, record }) => {
        const jobId = events.find(event => event.job_id).job_id, answer = new Answer(jobId), following = new Following();
        let last = null;
        const ask = () => record.status !== 'running' && fromRecord(record).forEach(event => answer.apply(event));
        for (const event of events) {
            if (answer.ended) break;
            if (event.type === 'ready') {
                if (!event.resumed) { following.lose(); ask(); }
                continue;
            }
            if (!isAfter(event.id, last)) continue;
            last = event.id;
            if (following.take(event) === 'show') answer.apply(event); else ask();
        }
        const { status, text, attempts, resets, maxAttempts, messageId, model, usage, error } = answer;
        return { status, text, attempts, max_attempts: maxAttempts, resets, message_id: messageId, model, usage, error };
    });
}"""


async def test_transcripts_make_the_same_answers(stack: RunningStack, page: Page) -> None:
    """The transcripts that the Python client is held to make the same of the page's modules."""
    await page.goto(stack.page_url)
    made = await page.evaluate(_PLAY, _TRANSCRIPTS)
    for transcript, answer in zip(_TRANSCRIPTS, made, strict=True):
        assert answer == transcript["expected"], transcript["name"]


async def test_a_cost_has_the_digits_that_count(stack: RunningStack, page: Page) -> None:
    """Dollars as the TUI writes them; nothing where the cost is not known."""
    await page.goto(stack.page_url)
    script = "async costs => { const { cost } = await import('/dom.js'); return costs.map(cost); }"
    said = ["", "$0", "$12.35", "$1.00", "$0.34", "$0.012", "$0.0012", "$0.0000000000010"]
    assert await page.evaluate(script, [None, 0, 12.3456, 1, 0.34, 0.0123, 0.00123456, 1e-12]) == said


async def test_a_checkpoint_is_before_what_is_under_way(stack: RunningStack, page: Page) -> None:
    """A page that is loaded again is given the events from before the first one of a job that has not ended."""
    await page.goto(stack.page_url)
    script = """async () => {
        const { Checkpoint } = await import('/events.js'), point = new Checkpoint('1-0'), seen = [];
        const note = (id, job_id) => { point.note({ id, job_id }); seen.push(point.id); };
        note('2-0', 'a'); note('3-0', 'b'); note('4-0', 'a');
        point.end('a'); seen.push(point.id);
        note('5-0', 'b'); point.end('b'); seen.push(point.id);
        return seen;
    }"""
    assert await page.evaluate(script) == ["1-0", "1-0", "1-0", "2-0", "2-0", "5-0"]


MARKDOWN = """# A heading with `code`

A paragraph with **bold**, *em*, ~~gone~~, a [link](https://example.org/ "t") and &lt;entities&gt; &amp; &#233;
over two lines, and <b>markup</b> that stays text.  
After a break: https://example.org/auto and [named][n].

- one
- two
  - nested `x`

  still two
- [x] done
- [ ] open

1. first
2. second

   with a paragraph

```python
def f(x):
    # a comment
    return "a string", 12
```

| a | b |
|---|--:|
| 1 | `2` |

> a quote
> - with a list

<div onclick="x()">block</div>

![image](https://example.org/i.png)

---

Setext
======

    indented code

[n]: https://example.org/named

Unclosed **bold and `code

```
unclosed fence
"""  # noqa: W291 - a line break of Markdown


async def test_markdown_that_grows_is_the_same_in_the_end(stack: RunningStack, page: Page) -> None:
    """Given letter by letter or in one piece, the same elements come out; and only the last block is made again."""
    await page.goto(stack.page_url)
    script = """async text => {
        const { StreamedMarkdown } = await import('/streamed.js');
        const grow = size => {
            const root = document.createElement('div'), view = new StreamedMarkdown(root);
            for (let end = size; end < text.length; end += size) view.show(text.slice(0, end), 0);
            view.show(text, 0, true);
            return root.innerHTML;
        };
        const root = document.createElement('div'), view = new StreamedMarkdown(root);
        view.show('first\\n\\nsecond', 0);
        const first = root.firstChild;
        view.show('first\\n\\nsecond grows\\n\\nthird', 0);
        return { made: [1, 2, 7, 50].map(grow), whole: grow(text.length), kept: root.firstChild === first };
    }"""
    shown = await page.evaluate(script, MARKDOWN)
    for made in shown["made"]:
        assert made == shown["whole"]
    assert shown["kept"]
    for part in (
        '<h3 dir="auto">A heading with <code dir="auto">code</code></h3>',
        "&lt;entities&gt; &amp; é",
        "&lt;b&gt;markup&lt;/b&gt;",
        'href="https://example.org/named"',
        "&lt;div onclick",
    ):
        assert part in shown["whole"], part
    assert "<img" not in shown["whole"]
    assert "<div onclick" not in shown["whole"]


async def test_markdown_beyond_reason_is_text(stack: RunningStack, page: Page) -> None:
    """What is nested thousands of times is shown, somehow, and soon."""
    await page.goto(stack.page_url)
    script = """async texts => {
        const { StreamedMarkdown } = await import('/streamed.js');
        return texts.map(text => {
            const root = document.createElement('div'), began = performance.now();
            new StreamedMarkdown(root).show(text, 0, true);
            return [root.textContent.length, performance.now() - began];
        });
    }"""
    for length, took in await page.evaluate(
        script,
        [
            ">" * 5000 + " x",
            "- " * 2000 + "x",
            "[" * 5000,
            "*a **b " * 2000,
            "\\(" * 5000,
            "$a $" * 5000,
            "$$\n" * 2000,
        ],
    ):
        assert length > 0
        assert took < 2000


async def test_streaming_keeps_up(stack: RunningStack, page: Page) -> None:
    """2,000 frames of an answer, as 100 tokens a second for 20 s bring them, cost little of the time they take."""
    await page.goto(stack.page_url)
    script = """async () => {
        const { StreamedMarkdown } = await import('/streamed.js');
        const root = document.createElement('div'), view = new StreamedMarkdown(root);
        document.getElementById('log').append(root);
        let text = '', worst = 0;
        const began = performance.now();
        for (let token = 0; token < 2000; token++) {
            const place = token % 400;
            const marks = { 399: '\\n\\n```python\\n', 50: '\\n```\\n\\n' };
            text += marks[place] ?? (place % 40 === 39 ? '\\n\\n' : ' word');
            const at = performance.now();
            view.show(text, 0);
            root.getBoundingClientRect();
            worst = Math.max(worst, performance.now() - at);
        }
        return { all: performance.now() - began, worst };
    }"""
    took = await page.evaluate(script)
    print(f"2,000 tokens, each drawn by itself: {took['all']:.0f} ms in all, the slowest {took['worst']:.1f} ms")
    assert took["all"] < 8000  # of the 20 s that they take to come
