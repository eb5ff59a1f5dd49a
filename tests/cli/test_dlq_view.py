"""What `cloudia dlq show` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.cli.dlq_view import print_letter

if TYPE_CHECKING:
    import pytest

_HEAD = (
    "id", "message_id", "conversation_id", "user_id", "buried_by", "error_type", "error_message", "attempts",
    "accepted_at", "failed_at", "job_status", "trace_id", "body", "job_id",
)  # fmt: skip


def _attempt(number: int, **more: Any) -> dict[str, Any]:
    return {
        "attempt": number,
        "ended_at": "then",
        "code": None,
        "outcome": "retried",
        "reason": "",
        "switches": None,
    } | more


def test_an_attempt_has_the_routes_that_it_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is a line behind its attempt, with why; an attempt that asked its first route has none."""
    letter = dict.fromkeys(_HEAD)
    attempts = [_attempt(1, switches=["openai m: quota", "groq n: breaker_open"]), _attempt(2)]
    print_letter({**letter, "content": "hello", "conversation": [], "attempt_history": attempts})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:4] == [
        "attempt 1 then retried",
        "passed over openai m: quota",
        "passed over groq n: breaker_open",
        "attempt 2 then retried",
    ]
