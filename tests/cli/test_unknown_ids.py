"""A name of something that is not there is the same mistake for every verb that takes one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support import RunningStack

_NO_CONVERSATION = "cnv_00000000000000000000000000"
_NO_JOB = "job_00000000000000000000000000"


@pytest.fixture(scope="module", autouse=True)
def _untouched(stack: RunningStack) -> Iterator[None]:
    """Nothing that is refused here stops or breaks a part."""

    def processes() -> dict[str, int]:
        return {name: part["pid"] for name, part in stack.json("status")["parts"].items()}

    def faults() -> set[str]:
        return {fault["id"] for fault in stack.json("chaos", "list")["faults"]}

    before, known = processes(), faults()
    yield
    assert processes() == before
    assert faults() <= known


@pytest.mark.parametrize(
    "command",
    [
        "conversations list --cursor nonsense",
        "conversations show nonsense",
        f"conversations show {_NO_CONVERSATION}",
        "conversations show …/../x",
        "send hello --conversation nonsense",
        f"send hello --conversation {_NO_CONVERSATION}",
        f"send hello --conversation {_NO_CONVERSATION} --no-wait",
        "dlq show nonsense",
        f"dlq show {_NO_JOB}",
        f"dlq redrive {_NO_JOB}",
        f"dlq redrive {_NO_JOB} --dry-run",
        f"dlq redrive {_NO_JOB} --wait",
        f"dlq purge --yes {_NO_JOB}",
        "chaos llm nonsense",
        "chaos worker kill --signal nonsense",
        "chaos gateway nonsense",
        "restart nonsense",
        "logs nonsense",
    ],
)
def test_it_exits_2(command: str, stack: RunningStack) -> None:
    """The exit code is 2, nothing is on stdout, and one object with a message and a hint is on stderr."""
    done = stack.cli(*command.split(), "--json")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    told = json.loads(done.stderr)["error"]
    assert told["message"]
    assert told["hint"]


def test_what_was_asked_for_is_named(stack: RunningStack) -> None:
    """A person reads which letter is not there, and where to look."""
    done = stack.cli("dlq", "show", _NO_CONVERSATION)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "this folder's stack",
        f"error: there is no dead letter '{_NO_CONVERSATION}'.",
        "hint: `cloudia dlq list` shows which there are.",
    ]
