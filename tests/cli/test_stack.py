"""The whole path from the shell: up, send, status, down."""

from __future__ import annotations

from tests.support import RunningStack


def test_a_message_goes_all_the_way(stack: RunningStack) -> None:
    """`send --json` prints the ids, the reply, the usage and the timings, and exits 0."""
    sent = stack.json("send", "hello from the shell")
    assert sent["status"] == "done"
    assert "hello from the shell" in sent["reply"]
    assert sent["attempts"] == 1
    assert sent["usage"]["output_tokens"] > 0
    assert 0 < sent["timings"]["accepted_ms"] < sent["timings"]["first_token_ms"] < sent["timings"]["total_ms"]
    assert sent["job_id"].startswith("job_")
    assert sent["message_id"].startswith("msg_")
