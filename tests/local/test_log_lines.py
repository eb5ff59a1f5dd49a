"""Lines of logs, ours and those of others: each has a time."""

from __future__ import annotations

import pytest

from cloudia.local.log_lines import plain, stamped, time_of, to_json

AT = "2026-11-22T21:12:00.123Z"
OURS = '{"time":"2026-11-22T21:12:00.100Z","level":"info","part":"worker","event":"job ended","status":"done"}'


@pytest.mark.parametrize(
    "line",
    [
        "Ready to accept connections",
        "",
        '{"x":1}',
        "{",
        "  at frame",
        '{"time":"yesterday","event":"x"}',
        "2026-11-22 x",
    ],
)
def test_a_line_of_others_is_given_the_time_at_which_it_came(line: str) -> None:
    """It is shown as it was, behind that time, to people as to programs."""
    kept = stamped(line, AT)
    assert time_of(kept) == AT
    assert plain(kept, "redis") == f"21:12:00.123 redis     {line}"
    assert to_json(kept, "redis") == {"part": "redis", "time": AT, "line": line}
    assert stamped(kept, "2026-11-22T21:12:00.999Z") == kept


def test_a_line_of_ours_keeps_its_time() -> None:
    """It says when it happened, not when it was read."""
    assert stamped(OURS, AT) == OURS
    assert time_of(OURS) == "2026-11-22T21:12:00.100Z"
    assert plain(OURS, "worker-1") == "21:12:00.100 worker-1  job ended  status=done"
    assert to_json(OURS, "worker-1")["event"] == "job ended"


def test_a_line_of_an_earlier_log_has_none() -> None:
    """What was logged without a time is shown without one."""
    assert plain("Ready", "redis") == f"{'':12} redis     Ready"
    assert to_json("Ready", "redis") == {"part": "redis", "line": "Ready"}
