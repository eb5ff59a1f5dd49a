"""Markdown that grows: the same elements as in one piece, wherever it is cut, at a cost that goes by what has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from playwright.async_api import Page

# Lines that mean something to each other: what one makes of another depends on all that stands between them.
_LINES = [
    *("", "", ""),
    *"""\
plain words of a line
more *emphasis* and **strong** words
`code` and a_b_c, 5 * 3
unclosed **bold
closed** here
a [link](https://example.org/a_b) there
a [named] one
https://example.org/x_y and www.example.org
- item
- second item with `code`
  - nested
    - deeper
  goes on
* other bullet
+
-
- [x] done
- [ ] open
1. one
2. two
2
10) ten
   inside
# Heading
## Another *one*
#### Deep
- # heading in an item
===
---
***
> quote
> - list in a quote
>
```
```python
def f(x): return "text" # comment
'''
~~~
/* open
| a | b |
|---|--:|
| 1 | `2` |
a | b
--|--
| 3 |
    indented code
\tat a tab
<div>
</div>
<b>inline</b> html
<!-- comment
-->
$$
x_1 * y_2 $ z
$a_1 * b_1$ and $5 or $6
\\[
\\]
\\(a*b*c\\)
+ b \\\\
&lt;tag&gt; &amp; more
hard break\x20\x20
back\\
!
![image](https://example.org/i.png)
عربي نص
日本語""".splitlines(),
]
_RUNS = st.tuples(st.sampled_from(_LINES), st.sampled_from([1, 1, 1, 2, 6])).map(lambda run: [run[0]] * run[1])
_DOCUMENT = st.lists(_RUNS, min_size=1, max_size=12).map(lambda runs: "\n".join(line for run in runs for line in run))
_CUTS = st.lists(st.integers(0, 10_000), max_size=30)
_DEFINITION = "\n\n[named]: https://example.org/named\n"

_GROW = """async ([text, cuts]) => {
    const { StreamedMarkdown } = await import('/streamed.js');
    const whole = text => {
        const root = document.createElement('div');
        new StreamedMarkdown(root).show(text, 0, true);
        return root;
    };
    const root = document.createElement('div'), view = new StreamedMarkdown(root);
    for (const cut of cuts) {
        view.show(text.slice(0, cut), 0);
        const once = whole(text.slice(0, cut));
        if (!root.isEqualNode(once)) return { cut, grown: root.innerHTML, once: once.innerHTML };
    }
    view.show(text, 0, true);
    const once = whole(text);
    return root.isEqualNode(once) ? null : { cut: 'end', grown: root.innerHTML, once: once.innerHTML };
}"""


async def differs(page: Page, text: str, cuts: list[int]) -> Any:
    """Return where a text that grows by these cuts is not what it is in one piece."""
    return await page.evaluate(_GROW, [text, sorted({cut % (len(text) + 1) for cut in cuts})])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=_DOCUMENT, cuts=_CUTS)
async def test_what_streamed_is_what_is_reloaded(blank: Page, document: str, cuts: list[int]) -> None:
    """At each cut the elements are those of the text so far in one piece: nothing jumps at the end, nothing is left over."""
    assert await differs(blank, document, cuts) is None, document


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=_DOCUMENT, cuts=_CUTS)
async def test_what_is_defined_late_is_right_in_the_end(blank: Page, document: str, cuts: list[int]) -> None:
    """The meaning of a link's name may come last: in the end it is what it is in one piece."""
    text = f"{document}\n\n[named] and more\n\n{document}{_DEFINITION}"
    script = _GROW.replace("if (!root.isEqualNode(once)) return", "if (false) return")
    assert await blank.evaluate(script, [text, sorted({cut % (len(text) + 1) for cut in cuts})]) is None, text


_BLOCKS = {
    "paragraph": "".join(f"word {number} of a *long* paragraph, with `code` " for number in range(1100)),
    "second": "Intro:\n\n" + "".join(f"word {number} of a long line, (with more) " for number in range(1400)),
    "code": "```python\n" + "".join(f"def f{number}(x): return 'text' + x  # of line\n" for number in range(1100)),
    "prose": "```\n" + "".join(f"line {number} of what has no colours at all\n" for number in range(1200)),
    "list": "".join(f"- item {number} with some **strong** words in it\n" for number in range(1100)),
    "loose": "".join(f"{number}. item with some **strong** words in it\n\n" for number in range(1, 1100)),
    "table": "| a | b |\n|---|---|\n"
    + "".join(f"| row {number} | with `code` and words in it |\n" for number in range(1200)),
    "blocks": "".join(f"## Heading {number}\nA paragraph below it\n- and a list\n" for number in range(1000)),
}

# What a frame does: characters that are cut into tokens, nodes that are made or gone. Never a time.
_COUNT = """async ([text, size]) => {
    const { StreamedMarkdown } = await import('/streamed.js'), { Lexer } = await import('/vendor/marked/marked.js');
    const root = document.createElement('div'), view = new StreamedMarkdown(root), frames = [];
    let read = 0;
    const lex = Lexer.prototype.lex;
    Lexer.prototype.lex = function (text) { read += text.length; return lex.call(this, text); };
    const watched = new MutationObserver(() => {});
    watched.observe(root, { childList: true, subtree: true, characterData: true, attributes: true });
    for (let end = size; end < text.length; end += size) {
        read = 0;
        view.show(text.slice(0, end), 0);
        const changes = watched.takeRecords();
        const nodes = changes.reduce((sum, each) => sum + each.addedNodes.length + each.removedNodes.length, 0);
        frames.push({ read, changes: changes.length, nodes });
    }
    Lexer.prototype.lex = lex;
    return frames;
}"""


@pytest.mark.parametrize("kind", _BLOCKS)
async def test_a_frame_costs_what_has_come(blank: Page, kind: str) -> None:
    """Up to 50 KB in one block, the last frames read no more text and touch no more nodes than the first ones."""
    text = _BLOCKS[kind]
    assert len(text) > 45_000
    frames = await blank.evaluate(_COUNT, [text, 64])
    for what in ("read", "changes", "nodes"):
        early, late = (max(frame[what] for frame in part) for part in (frames[10:110], frames[-100:]))
        print(f"{kind}: {what} a frame, at most {early} early and {late} late")
        assert late <= early * 1.5 + 20, what
    assert max(frame["read"] for frame in frames) < 1000


_MARK = """([text, half]) => import('/streamed.js').then(({ StreamedMarkdown }) => {
    const root = document.createElement('div'), view = new StreamedMarkdown(root);
    document.body.append(root);
    view.show(text.slice(0, half), 0);
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    let last;
    for (let node; (node = walker.nextNode()); ) if (node.data.trim().includes(' ')) last = node;
    getSelection().setBaseAndExtent(last, 0, last, last.data.trimEnd().lastIndexOf(' '));
    const marked = getSelection().toString();
    for (let end = half; end < text.length; end += 7) view.show(text.slice(0, end), 0);
    view.show(text, 0, true);
    const kept = getSelection().toString();
    root.remove();
    return { marked, kept };
})"""


@pytest.mark.parametrize("kind", _BLOCKS)
async def test_a_selection_stays_in_a_block_that_grows(blank: Page, kind: str) -> None:
    """Whoever marks the words before the last one, which may become markup, has them marked still when the block is whole."""
    text = _BLOCKS[kind][:2000]
    shown = await blank.evaluate(_MARK, [text, 1003])
    assert shown["marked"]
    assert shown["kept"] == shown["marked"]
