"""The two READMEs say the same: the same sections in the same order, the same commands, the same code, files that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text()
PORTUGUESE = (ROOT / "README.pt-BR.md").read_text()

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)\)")


def levels(text: str) -> list[int]:
    """Return the level of each heading, outside of code."""
    return [len(line) - len(line.lstrip("#")) for line in _BLOCK.sub("", text).splitlines() if line.startswith("#")]


def code(text: str) -> list[tuple[str, list[str]]]:
    """Return the language and the lines of each block of code, without comments; drawings have words of their own."""
    found = []
    for language, body in _BLOCK.findall(text):
        lines = [re.sub(r"\s*#.*", "", line).rstrip() for line in body.splitlines()]
        found.append((language, [] if language == "mermaid" else [line for line in lines if line]))
    return found


def rows(text: str) -> list[str]:
    """Return the first cell of each row of a table that is code or a number: the same in every language."""
    cells = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    return [cell for cell in cells if re.fullmatch(r"`[^`]+`(, `[^`]+`)*|\d+", cell)]


def test_both_have_the_same_sections() -> None:
    """Heading by heading, the levels are the same."""
    assert levels(ENGLISH) == levels(PORTUGUESE)
    assert len(levels(ENGLISH)) > 10


def test_both_have_the_same_commands_and_code() -> None:
    """Every command and every line of code stands in both, in the same order."""
    assert code(ENGLISH) == code(PORTUGUESE)


def test_both_have_the_same_tables() -> None:
    """Settings, exit codes and messages are the same."""
    assert rows(ENGLISH) == rows(PORTUGUESE)
    assert len(rows(ENGLISH)) > 20


def test_what_they_link_to_is_there() -> None:
    """Each file that a README links to exists, the same in both but for the link to the other one."""
    links = [[link for link in _LINK.findall(text) if not link.startswith("http")] for text in (ENGLISH, PORTUGUESE)]
    for link in (*links[0], *links[1]):
        assert (ROOT / link).exists(), link
    assert [link for link in links[0] if "README" not in link] == [link for link in links[1] if "README" not in link]
