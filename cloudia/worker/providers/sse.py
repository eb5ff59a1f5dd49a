"""Server-sent events read as plain objects, by the standard and as servers are seen to write them. No I/O.

The SDKs make a typed object of each chunk, which costs more than twice what everything else about the chunk does, and
that is the bound on how many answers a process can stream. Requests, errors and connections stay the SDKs'.
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["EventReader"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DONE = b"[DONE]"
"""How OpenAI ends a stream."""
_MAX_EVENT_BYTES = 4 * 1024 * 1024
"""An answer that can be recorded is far smaller."""


class EventReader:
    """Takes the bytes of a stream, cut anywhere, and gives the JSON object of each event.

    `feed` and `end` raise `ValueError` where an event's data is no object, or more than 4 MB.
    """

    def __init__(self) -> None:
        self.done = False
        """Whether `[DONE]` has come; what follows it is passed over."""
        self.begun = False
        """Whether any event has had data."""
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._held = 0
        self._after_return = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """Return the objects of the events that end in this chunk."""
        if self.done or not chunk:
            return []
        if self._after_return and chunk.startswith(b"\n"):  # The other half of a CRLF.
            chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_return = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif chunk:
            self._after_return = False
        *lines, rest = chunk.split(b"\n")
        if lines and self._line:
            lines[0] = b"".join([*self._line, lines[0]])
            self._line.clear()
        if rest:
            self._line.append(rest)
        self._hold(len(chunk))
        objects = [value for line in lines if (value := self._take(line)) is not None]
        if lines:
            self._held = len(rest) + sum(map(len, self._data))
        return objects

    def end(self) -> list[dict[str, Any]]:
        """Return the object of an event that no blank line ended. The standard drops it, for it may be half of one.

        Some servers leave the last blank line out, and half an object is none: where the data is whole, it counts.
        """
        last = b"".join(self._line)
        self._line.clear()
        try:
            found = [value for line in (last, b"") if (value := self._take(line)) is not None]
        except ValueError:
            found = []
        return found

    def _take(self, line: bytes) -> dict[str, Any] | None:
        """Take a line. Return the object of the event that it ends."""
        if self.done:
            return None
        if self._at_start:
            self._at_start, line = False, line.removeprefix(_BYTE_ORDER_MARK)
        if line.startswith(b"data:"):
            self._data.append(line[5:])
            return None
        if line.startswith(b"error:"):  # llama.cpp's field for an error, in place of data.
            self.begun = True
            return {"error": _parsed(line[6:])}
        if line or not self._data:  # Another field, a comment, or an event without data.
            return None
        text = b"\n".join(self._data).strip()
        self._data.clear()
        self.begun |= bool(text)
        self.done = text == _DONE
        if not text or self.done:
            return None
        value = _parsed(text)
        if not isinstance(value, dict):
            raise ValueError("the data is no object")  # noqa: TRY004 - a value's fault, not a type's
        return value

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > _MAX_EVENT_BYTES:
            # A chunk is at most 16 KB, so that an event of the size that is let through never trips over its neighbours.
            raise ValueError(f"an event has more than {_MAX_EVENT_BYTES} bytes")


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("the data is nested too deeply") from error
