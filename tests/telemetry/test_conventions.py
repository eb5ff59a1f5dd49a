"""The one table of what is told: the page is made of it, and the code tells nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloudia
from cloudia.telemetry.conventions import LINES, METRICS, SPANS
from tests.doc_scripts import doc_script

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(cloudia.__file__).parent
SHIPS = ("functions", "worker", "gateway", "telemetry", "cloud", "operate")


def logged() -> Iterator[tuple[str, str]]:
    """Yield the file and the event of each line that what ships logs, words that are filled in in braces."""
    for room in SHIPS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in {"telemetry.log", "log"} and node.args:
                    match node.args[0]:
                        case ast.Constant(value=str(event)):
                            yield path.name, event
                        case ast.JoinedStr() as text:
                            yield path.name, re.sub(r"\{\w+\.", "{", ast.unparse(text)[2:-1])


def test_the_page_is_current() -> None:
    """`python docs/make_observability.py` would change nothing."""
    made = doc_script("make_observability")
    assert made.PAGE.read_text() == made.page(), "run `python docs/make_observability.py`"


def test_every_line_is_in_the_table() -> None:
    """What is logged has a row, and each row is logged somewhere."""
    events = {event: file for file, event in logged()}
    assert {event: file for event, file in events.items() if event not in LINES} == {}
    named = {"event log is away; answers are recorded all the same"}  # By a variable.
    assert set(LINES) - set(events) - named == set()


@pytest.mark.parametrize("name", METRICS)
def test_i6_no_label_is_an_id(name: str) -> None:
    """I6: an attribute of a metric has few values; it is the id of nobody and nothing."""
    assert not [each for each in METRICS[name].attributes if each.endswith((".id", "_id"))]
    assert METRICS[name].doc


def test_spans_say_what_they_are() -> None:
    """Each has a kind of OpenTelemetry's and a sentence."""
    assert all(row.doc and row.kind for row in SPANS.values())
