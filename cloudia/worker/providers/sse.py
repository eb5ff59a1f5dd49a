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
_DOCUMENT = (b"{", b"[")
_SIGNS_OF_LIFE = {b"ping", b"heartbeat", b"keepalive", b"keep-alive"}
"""Names of events whose data may be anything."""


class EventReader:
    """Takes the bytes of a stream, cut anywhere, and gives the JSON object of each event.

    A server may send one JSON document in place of a stream, whatever type it gives it: `end` gives the objects of that.
    `feed` and `end` raise `ValueError` where an event's data is no object, or more than 4 MB.
    """

    def __init__(self) -> None:
        self.done = False
        """Whether `[DONE]` has come; what follows it is passed over."""
        self.begun = False
        """Whether any event has had data."""
        self.is_document = False
        """Whether it is a document and no stream."""
        self._name = b""
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
            if self.is_document:
                document = _parsed(b"\n".join(self._data))
                each = document if isinstance(document, list) else [document]
                found = [value for value in each if isinstance(value, dict)]
        except ValueError:
            found = []
        return found

    def _take(self, line: bytes) -> dict[str, Any] | None:
        """Take a line. Return the object of the event that it ends."""
        if self._at_start:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = not line.strip()
            self.is_document = line.lstrip().startswith(_DOCUMENT)
        if self.done:
            return None
        if line.startswith(b"data:") and self._is_whole():  # Some servers leave the blank line between events out.
            before = self._event()
            self._keep(line)
            return before
        if self._keep(line):
            return None
        if line.startswith(b"error:"):  # llama.cpp's field for an error, in place of data.
            self.begun = True
            return {"error": _parsed(line[6:])}
        return None if line else self._event()  # Another line is another field, or a comment.

    def _keep(self, line: bytes) -> bool:
        """Keep a line that is part of an event, or of a document. Return whether it is one."""
        if self.is_document:
            self._data.append(line)
        elif line.startswith(b"data:"):
            self._data.append(line[5:])
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()
        else:
            return False
        return True

    def _is_whole(self) -> bool:
        """Tell whether the data so far is an object, in one line."""
        if len(self._data) != 1 or self.is_document:
            return False
        try:
            return isinstance(_parsed(self._data[0]), dict)
        except ValueError:
            return False

    def _event(self) -> dict[str, Any] | None:
        """Return the object of the event whose lines were kept; None where it has none."""
        text, name = b"\n".join(self._data).strip(), self._name
        while text.startswith(b"data:"):  # Of a proxy that took a line for its data.
            text = text[5:].lstrip()
        self._data.clear()
        self._name = b""
        self.begun |= bool(text)
        self.done = text == _DONE
        if not text or self.done or name.lower() in _SIGNS_OF_LIFE:
            return None
        if name == b"error":
            return _as_error(text)
        value = _parsed(text)
        if not isinstance(value, dict):
            raise ValueError("the data is no object")  # noqa: TRY004 - a value's fault, not a type's
        return value

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > _MAX_EVENT_BYTES:
            # A chunk is at most 16 KB, so that an event of the size that is let through never trips over its neighbours.
            raise ValueError(f"an event has more than {_MAX_EVENT_BYTES} bytes")


def _as_error(text: bytes) -> dict[str, Any]:
    """Return the data of an event of the name `error` as an error, whatever it is."""
    try:
        value = _parsed(text)
    except ValueError:
        value = text[:4096].decode(errors="replace")
    return value if isinstance(value, dict) and value.get("error") else {"error": value or "error"}


def _parsed(text: bytes) -> Any:
    """Return the value of JSON in UTF-8; as the standard has it for a stream, bytes that are none are replaced."""
    try:
        return json.loads(text.decode("utf-8", "replace"))
    except RecursionError as error:
        raise ValueError("the data is nested too deeply") from error
