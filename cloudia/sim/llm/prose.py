"""Markdown to answer with: paragraphs, lists and code about the words that the user used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudia.sim.llm.dice import Dice

__all__ = ["blocks", "filler", "topics"]

_WORD = re.compile(r"[^\W\d_]{5,20}")
_NO_TOPICS = ("question", "idea")

_SENTENCES = (
    "The short answer is that {a} matters more than it seems.",
    "Start with {a}, because everything else leans on it.",
    "Most people reach for {b} first, and it works until the load grows.",
    "What makes {a} hard is not its size but its edges.",
    "Measure before you change anything about {b}.",
    "A small experiment will tell you more about {a} than a long plan.",
    "If {a} and {b} disagree, trust the one you can observe.",
    "Keep {b} boring, and you will sleep well.",
    "There is a second way to look at {a}: ask what happens when it fails.",
    "In practice {b} is decided by the slowest part.",
    "Write down what you expect of {a}, then see what you get.",
    "Once {b} is in place, the rest follows step by step.",
)
_LEADS = (
    "A few things to keep in mind:",
    "It comes down to this:",
    "These steps have served others well:",
    "Check them in this order:",
)
_ITEMS = (
    "**{a}** first, since it is the cheapest to change",
    "a clear limit for {b}, with a number in it",
    "one owner for {a}",
    "a test that fails when {b} breaks",
    "an *honest* look at {a} under load",
    "a way back if {b} does not work out",
    "`{a}` written the same way everywhere",
    "less {b} than you think you need",
)
_PYTHON = """```python
def {a}(items: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {{}}
    for item in items:
        counts[item] = counts.get(item, 0) + 1  # {b}
    return counts


print({a}(["{a}", "{b}", "{a}"]))
```"""
_BASH = """```bash
# look at {a} before and after
set -euo pipefail
{a}_dir="$(mktemp -d)"
echo "{b}" > "${a}_dir/{a}.txt"
cat "${a}_dir"/*.txt
```"""
_JSON = """```json
{{
  "{a}": {{"enabled": true, "limit": 20}},
  "{b}": ["first", "second"]
}}
```"""
_SQL = """```sql
SELECT {a}, count(*) AS {b}_count
FROM {b}_log
GROUP BY {a}
ORDER BY {b}_count DESC
LIMIT 10;
```"""
_PLANS = (
    ("paragraph", "numbered", "code", "paragraph"),
    ("paragraph", "bullets", "paragraph", "code"),
    ("code", "paragraph", "bullets"),
    ("paragraph", "code", "numbered"),
)


def topics(message: str) -> tuple[str, ...]:
    """Return the longest words of `message`, which is short: two to four that differ, the longest first."""
    words = dict.fromkeys(found[0].lower() for found in _WORD.finditer(message))
    longest = sorted(words, key=len, reverse=True)[:4]
    return tuple(longest) if longest[1:] else (*longest, *_NO_TOPICS)[:2]


def blocks(dice: Dice, about: tuple[str, ...]) -> Iterator[str]:
    """Yield one answer's blocks of markdown: some text, one list, one fence of code, in an order the dice choose."""
    for kind in dice.pick(_PLANS):
        if kind == "paragraph":
            yield " ".join(_fill(dice, line, about) for line in dice.some(_SENTENCES, 2 + dice.below(2)))
        elif kind == "code":
            yield _fill(dice, dice.pick((_PYTHON, _BASH, _JSON, _SQL)), tuple(_identifier(topic) for topic in about))
        else:
            items = [_fill(dice, line, about) for line in dice.some(_ITEMS, 3 + dice.below(2))]
            marks = [f"{n}." if kind == "numbered" else "-" for n in range(1, len(items) + 1)]
            yield f"{dice.pick(_LEADS)}\n\n" + "\n".join(
                f"{mark} {item}" for mark, item in zip(marks, items, strict=True)
            )


def filler(dice: Dice, about: tuple[str, ...], words: int) -> str:
    """Return a paragraph of exactly `words` words."""
    found: list[str] = []
    while len(found) < words:
        found += _fill(dice, dice.pick(_SENTENCES), about).split()
    return " ".join(found[:words])


def _fill(dice: Dice, line: str, about: tuple[str, ...]) -> str:
    first = dice.pick(about)
    return line.format(a=first, b=dice.pick([topic for topic in about if topic != first] or about))


def _identifier(topic: str) -> str:
    return topic if topic.isascii() else "item"
