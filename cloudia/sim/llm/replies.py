"""The queue of answers that a test has written word for word."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from cloudia.sim.llm import fields
from cloudia.sim.llm.fields import FieldError

__all__ = ["MAX_CHARACTERS", "MAX_QUEUED", "Script"]

MAX_QUEUED = 1_000  # entries
MAX_CHARACTERS = 200_000  # of one entry


@dataclass(slots=True)
class _Line:
    text: str
    times: int


class Script:
    """Texts to answer with, first in, first out, each as many times as it was asked for."""

    def __init__(self) -> None:
        self._lines: deque[_Line] = deque()

    def add(self, data: dict[str, Any]) -> None:
        """Queue `{"text", "times"}`; `times` is 1 unless told. Raises FieldError."""
        fields.known(data, {"text", "times"})
        text = fields.text(data, "text", empty=True)
        times = fields.integer(data, "times", least=1)
        if text is None:
            raise FieldError("text", "must be given")
        if len(text) > MAX_CHARACTERS:
            raise FieldError("text", f"must have {MAX_CHARACTERS} characters at most")
        if len(self._lines) >= MAX_QUEUED:
            raise FieldError("", f"there are {MAX_QUEUED} replies queued already")
        self._lines.append(_Line(text, times or 1))

    def take(self) -> str | None:
        """Return the next text and use it up; None if none is queued."""
        if not self._lines:
            return None
        line = self._lines[0]
        line.times -= 1
        if line.times == 0:
            self._lines.popleft()
        return line.text

    def entries(self) -> list[dict[str, Any]]:
        """Return what is queued: `{"text", "times"}` with the times that are left."""
        return [{"text": line.text, "times": line.times} for line in self._lines]

    def clear(self) -> int:
        """Forget what is queued and return how many entries that were."""
        count = len(self._lines)
        self._lines.clear()
        return count
