"""What the last requests said, where it is kept on demand: for test suites, which ask what their responder sent.

At first nothing is kept. What is kept stays in memory, within its bounds, and leaves by the control endpoint alone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from cloudia.sim.llm import fields
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.wire import encode

if TYPE_CHECKING:
    from cloudia.sim.llm.prompts import Prompt

__all__ = ["MAX_BYTES", "MAX_KEPT", "Kept"]

MAX_KEPT = 1_000  # requests
MAX_BYTES = 16 * 1024 * 1024  # of them all


class Kept:
    """The prompts of the last requests, at most `most` of them and at most MAX_BYTES in all; the oldest go first."""

    def __init__(self) -> None:
        self.most = 0
        self._entries: deque[bytes] = deque()
        self._bytes = 0

    def set(self, data: dict[str, Any]) -> None:
        """Keep the last `{"keep"}` requests from now on, 0 for none, and forget those before. Raises FieldError."""
        fields.known(data, {"keep"})
        most = fields.integer(data, "keep", least=0, most=MAX_KEPT)
        if most is None:
            raise FieldError("keep", "must be given")
        self.clear()
        self.most = most

    def add(self, sequence: int, prompt: Prompt, body: bytes) -> None:
        """Keep a request: `body` is the JSON object that `prompt` was read from."""
        if not self.most:
            return
        read = {
            "sequence": sequence,
            "messages": [{"role": turn.role, "content": turn.text} for turn in prompt.turns],
            "tools": prompt.tools,
        }
        self._entries.append(encode(read)[:-1] + b',"body":%b}' % body)
        self._bytes += len(self._entries[-1])
        while len(self._entries) > self.most or self._bytes > MAX_BYTES:
            self._bytes -= len(self._entries.popleft())

    def clear(self) -> int:
        """Forget what is kept and return how many requests that were."""
        count = len(self._entries)
        self._entries.clear()
        self._bytes = 0
        return count

    def to_json(self) -> bytes:
        """Return `{"keep", "prompts"}` as JSON, the oldest first."""
        return b'{"keep":%d,"prompts":[%b]}' % (self.most, b",".join(self._entries))
