"""The client of the pytest plugin, by itself."""

from __future__ import annotations

from typing import Any

from cloudia.testing.client import ChatClient


class _Connected:
    """A connection on which an answer ends while others are cancelled."""

    def __init__(self, ended: dict[str, Any]) -> None:
        self.api, self.closed, self.cancelled = self, False, list[str]()
        self._ended = ended

    async def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        self._ended.clear()

    async def __aexit__(self, *_: object) -> None:
        self.closed = True


async def test_answers_that_end_while_a_test_is_left() -> None:
    """Each that had not ended is cancelled, and the client closed, whatever ends meanwhile."""
    client = ChatClient.__new__(ChatClient)
    client._open = dict.fromkeys(("job_1", "job_2"), None)  # type: ignore[assignment]
    connected: Any = _Connected(client._open)
    client._client = connected
    await client._leave()
    assert connected.cancelled == ["job_1", "job_2"]
    assert connected.closed
