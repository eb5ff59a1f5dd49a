"""Text and secrets taken out of what a provider sent, in place: each byte keeps its position, so pauses and cuts stay true."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["without_secrets", "without_text"]

_KEPT = frozenset(
    {
        *(
            "type",
            "object",
            "model",
            "role",
            "id",
            "call_id",
            "tool_call_id",
            "name",
            "event",
            "status",
            "code",
            "param",
        ),
        *("finish_reason", "native_finish_reason", "stop_reason", "service_tier"),
    }
)
"""Fields whose strings are the protocol's own words; every other string of a document is text."""

_CODED = frozenset({"bytes", "token_ids", "prompt_token_ids"})
"""Fields whose numbers are text."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[{}\[\],:]|[^"{}\[\],:\s]+', re.DOTALL)
_CHARACTER = re.compile(rb"\\u[0-9a-fA-F]{4}|\\.|[0-9]|[^\W\d_]|[\x80-\xff]", re.DOTALL)
_LINE = re.compile(rb"((?:\xef\xbb\xbf)?data: ?|[ \t]*(?=[{\[]))([^\r\n]*)|(event|id|retry):[^\r\n]*|[^\r\n]+")
_KEY = re.compile(rb"\b(?:sk|pk|rk|gsk|xai|hf|AIza|AKIA|key)[-_][\w*.-]{5,}|\bAIza[\w*-]{5,}|\bAKIA\w{5,}")
_NUMBER = re.compile(rb"-?[0-9.eE+-]+")
_WORDS = (b"[DONE]", b"true", b"false", b"null")


def without_secrets(raw: bytes, secrets: Iterable[str]) -> bytes:
    """Return `raw` with x in place of the secrets, and of what looks like a key or the rest of a masked one."""
    for secret in secrets:
        if secret:
            raw = raw.replace(secret.encode(), b"x" * len(secret.encode()))
    return _KEY.sub(lambda found: b"x" * len(found[0]), raw)


def without_text(raw: bytes) -> bytes:
    """Return an event stream or a JSON document of the same length, with x in place of letters and 1 in place of digits.

    Punctuation and space stay, and with them what the text looks like. Whatever is no JSON is all text.
    """
    if raw.lstrip()[:1] in {b"{", b"["}:
        return _document(raw)
    return _LINE.sub(_line, raw)


def _line(found: re.Match[bytes]) -> bytes:
    start, data, other = found[1], found[2], found[3]
    if other:
        return found[0]
    if start is None:
        return _masked(found[0])
    return start + (data if data in _WORDS else _document(data) if data[:1] in {b"{", b"["} else _masked(data))


def _document(raw: bytes) -> bytes:
    """Return JSON, whole or cut off, with its texts masked; the fields that they stand in say which are text."""
    fields = [""]
    out, at, last = bytearray(), 0, ""
    for found in _TOKEN.finditer(raw):
        out += raw[at : found.start()]
        at, token = found.end(), found[0]
        if token in {b"{", b"["}:
            fields.append(fields[-1] if token == b"[" else "")
        elif token in {b"}", b"]"}:
            del fields[max(1, len(fields) - 1) :]
        elif token == b":":
            fields[-1] = last
        elif token != b",":
            last = token.strip(b'"').decode("latin-1")
            is_name = token[:1] == b'"' and raw[at : at + 8].lstrip()[:1] == b":"
            token = token if is_name or _is_plain(token, fields[-1]) else _masked(token)
        out += token
    return bytes(out + raw[at:])


def _is_plain(token: bytes, field: str) -> bool:
    """Tell whether a value of a field says nothing of a message."""
    if token[:1] == b'"':
        return field in _KEPT and token[1:].endswith(b'"')
    return field not in _CODED and (token in _WORDS or _NUMBER.fullmatch(token) is not None)


def _masked(text: bytes) -> bytes:
    return _CHARACTER.sub(_mask, text)


def _mask(found: re.Match[bytes]) -> bytes:
    character = found[0]
    if character.startswith(b"\\"):
        return b"x" * len(character) if character[1:2] == b"u" else character
    return b"1" if character.isdigit() else b"x"
