"""Text from stdin or a file, bounded and decoded, and messages as JSON Lines; nothing is sent before all of it is read."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from cloudia.errors import InvalidRequestError, RequestError, UsageError
from cloudia.protocol import PostMessage

__all__ = ["STDIN", "Line", "parse_lines", "read_lines", "read_text"]

STDIN = "-"
_MOST_TEXT = 1024 * 1024
"""Bytes; more than any stack takes as one message. Whether this one takes it, it says itself."""
_MOST_LINES = 64 * 1024 * 1024
_NAMED = 10
"""Bad lines that are named by number."""


@dataclass(frozen=True, slots=True)
class Line:
    """A message, and the number of the line that it stands in, counted from 1."""

    number: int
    message: PostMessage


def read_text(source: str) -> str:
    """Return the text of a file, or of stdin where it is `-`, without its last line end. `UsageError` where it is none."""
    raw = _read(source, _MOST_TEXT)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{_name(source)} is not UTF-8: byte {error.start} is 0x{raw[error.start]:02x}", hint="Convert it to UTF-8."
        ) from error
    return text.removesuffix("\n").removesuffix("\r")


def read_lines(source: str) -> bytes:
    """Return the bytes of a file of JSON Lines, or of stdin where it is `-`."""
    return _read(source, _MOST_LINES)


def parse_lines(raw: bytes, *, conversation_id: str | None, content_bytes: int) -> list[Line]:
    """Return the messages of JSON Lines: an object `{content, conversation_id?, idempotency_key?}` a line, or a string.

    Empty lines are passed over. A line without a conversation gets `conversation_id`. `UsageError` names each bad line.
    """
    lines: list[Line] = []
    bad: dict[int, RequestError] = {}
    keys: dict[str, int] = {}
    for number, text in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not text.strip():
            continue
        try:
            message = _message(text, conversation_id, content_bytes)
            first = keys.setdefault(message.idempotency_key, number) if message.idempotency_key else number
            if first != number:
                raise InvalidRequestError(f"its idempotency_key is that of line {first}")
        except RequestError as error:
            bad[number] = error
        else:
            lines.append(Line(number, message))
    if bad:
        raise _refusal(bad)
    if not lines:
        raise UsageError("there is no message to send", hint="See `cloudia send --help`.")
    return lines


def _message(text: bytes, conversation_id: str | None, content_bytes: int) -> PostMessage:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None  # The decoder below says what is wrong with it.
    if isinstance(value, str):
        text = json.dumps({"content": value}).encode()
    message = PostMessage.decode(text, max_content_bytes=content_bytes)
    if message.session_id is not None:
        raise InvalidRequestError("session_id cannot be given; a session is made for all of them")
    return PostMessage(message.content, message.conversation_id or conversation_id, None, message.idempotency_key)


def _refusal(bad: dict[int, RequestError]) -> UsageError:
    number, error = next(iter(bad.items()))
    message = error.message.replace("the body", "it")
    if len(bad) == 1:
        return UsageError(f"line {number} cannot be sent: {message}", hint="Mend that line; nothing was sent.")
    numbers = ", ".join(str(each) for each in list(bad)[:_NAMED]) + (", …" if len(bad) > _NAMED else "")
    return UsageError(
        f"{len(bad)} lines cannot be sent: {numbers}; line {number}: {message}", hint="Mend them; nothing was sent."
    )


def _read(source: str, most: int) -> bytes:
    """Return all bytes of a source, if they are at most `most`."""
    try:
        if source != STDIN:
            with Path(source).open("rb") as file:
                raw = file.read(most + 1)
        else:
            raw = sys.stdin.buffer.read(most + 1) if sys.stdin else b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{_name(source)} cannot be read: {reason}", hint="Name a file, or - for stdin.") from error
    if len(raw) > most:
        raise UsageError(f"{_name(source)} has over {most // 2**20} MB", hint="Send it in pieces.")
    return raw


def _name(source: str) -> str:
    return "stdin" if source == STDIN else source
