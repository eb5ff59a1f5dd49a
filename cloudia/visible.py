"""Text of others, made safe for a terminal: control characters and marks of direction are shown, not executed.

A terminal takes ESC, the C1 controls and what follows them for commands: they move its cursor, write its clipboard (OSC 52)
or hide a link's target (OSC 8). Marks of direction let a line read other than it is (Unicode TR 36, 3; CVE-2021-42574).
"""

from __future__ import annotations

import re

__all__ = ["json_escaped", "visible"]

_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"
_SEPARATORS = "\u2028\u2029"
_UNSAFE = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_DIRECTION}{_SEPARATORS}\ud800-\udfff]")
_UNSAFE_IN_JSON = re.compile(rf"[\x7f-\x9f{_DIRECTION}{_SEPARATORS}\ud800-\udfff]")
_PICTURES = 0x2400
"""Where Unicode has a picture of each C0 control."""
_C0 = 0x20
_DELETE = 0x7F
_BYTE = 0xFF


def visible(text: str) -> str:
    r"""Return a text in which every control character but newline and tab is a picture (␛) or its escape (`\x9b`).

    Each character is judged by itself, so that a text may come in pieces: a sequence that is cut between two of them is
    none in either.
    """
    return _UNSAFE.sub(_shown, text)


def json_escaped(document: str) -> str:
    """Return a JSON text with those characters escaped that JSON lets through and a terminal does not: the data is the same."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < _C0:
        return chr(_PICTURES + code)
    if code == _DELETE:
        return "␡"
    return f"\\x{code:02x}" if code <= _BYTE else f"\\u{code:04x}"
