"""`cloudia trace` and `cloudia why`: what a message's time went to, on a running stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.provider import fault, quick
from tests.cli.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support import RunningStack


@pytest.fixture(autouse=True)
def _quick(stack: RunningStack) -> Iterator[None]:
    with quick(stack.run):
        yield


@pytest.fixture(scope="module")
def retried(stack: RunningStack) -> dict[str, Any]:
    """A message that failed twice and was then answered, as `send --json` tells it."""
    with quick(stack.run), fault(stack.run, "status", status=500, count=4):  # Each attempt asks twice.
        sent: dict[str, Any] = stack.json("send", "hello")
        return sent


def test_a_message_that_failed_twice(stack: RunningStack, retried: dict[str, Any]) -> None:
    """Three attempts, two back-offs, and why, in the order of their times; `why` names the back-off as the reason."""
    traced = stack.cli("trace", retried["job_id"]).stdout
    lines = [line.split("  ")[0] for line in traced.splitlines() if line and not line.startswith(" ")]
    assert [line.split()[0] for line in lines if line.startswith(("attempt", "back-off"))] == [
        "attempt", "back-off", "attempt", "back-off", "attempt",
    ]  # fmt: skip
    assert traced.count("retried  llm_failed") == 2
    assert "hello" not in traced
    said = stack.json("why", retried["job_id"])
    assert said["status"] == "done"
    assert "went to 2 failed attempts (llm_failed) and the back-off" in said["why"]
    assert any(line.startswith("delivery: its last event is in") for line in said["evidence"])


def test_it_is_found_by_its_conversation(stack: RunningStack, retried: dict[str, Any]) -> None:
    """The last message of a conversation; of one that is not there one sentence."""
    by_conversation = stack.cli("trace", "--conversation", retried["conversation_id"]).stdout
    assert retried["job_id"] in by_conversation
    missing = stack.cli("trace", "--conversation", "cnv_none")
    assert missing.returncode == 2
    assert "there is no such conversation" in missing.stderr


def test_the_list(stack: RunningStack, retried: dict[str, Any]) -> None:
    """`--slow`, `--failed` and `--since` choose."""

    def listed(*options: str) -> list[str]:
        return [row["job_id"] for row in stack.json("trace", "list", *options)["messages"]]

    assert retried["job_id"] in listed("--slow", "5s")
    assert retried["job_id"] not in listed("--failed")
    assert retried["job_id"] not in listed("--slow", "1h")
    assert listed("--limit", "1", "--since", "1h")


def test_json_is_one_trace(stack: RunningStack, retried: dict[str, Any]) -> None:
    """OTLP's, with the trace id of the request, whether an attempt is told by the record or by the collector."""
    document = stack.json("trace", retried["job_id"])
    spans = [
        span for resource in document["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"]
    ]
    assert [span["name"].split()[0] for span in spans].count("process") == 3
    assert len({span["traceId"] for span in spans}) == 1


async def test_it_fits_a_terminal_of_80(stack: RunningStack, retried: dict[str, Any]) -> None:
    """Bars at their places, no line longer than the terminal is wide."""
    with terminal("trace", retried["job_id"], folder=stack.folder, COLUMNS="80") as drawn:
        assert await drawn.ends() == 0
        assert "█" in drawn.text
        assert all(len(line.rstrip()) <= 80 for line in drawn.text.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say which message"),
        (("--last", "job_1"), "say which message"),
        (("job_none",), "there is no record of the job job_none"),
        (("--last", "--failed"), "are for `cloudia trace list`"),
        (("list", "--slow", "soon"), "'soon' is no time"),
    ],
)
def test_bad_input(stack: RunningStack, arguments: tuple[str, ...], said: str) -> None:
    """One sentence, and exit code 2."""
    refused = stack.cli("trace", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert said in refused.stderr


def test_send_draws_it_after_the_answer(stack: RunningStack) -> None:
    """`send --trace` has the answer alone on stdout, and the waterfall on stderr; it is for one message that is waited for."""
    sent = stack.cli("send", "hello", "--trace")
    assert sent.returncode == 0
    assert "attempt 1" in sent.stderr
    assert "attempt 1" not in sent.stdout
    assert stack.cli("send", "hello", "--no-wait", "--trace").returncode == 2
