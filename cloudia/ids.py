"""Identifiers: sortable by the time they were made, unique without asking anyone.

The random part and the clock are those of a ULID (https://github.com/ulid/spec): 48 bits of milliseconds, 80 random bits,
26 characters of Crockford's base 32, lower case.
"""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime

__all__ = ["conversation_id", "is_id", "iso", "job_id", "made_at", "new", "now", "part_id", "reply_id", "turn_ids"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_LENGTH = 26
_ID = re.compile(r"(?:msg_[0-9a-hjkmnp-tv-z]{26}[01]|(?!msg_)[a-z]{2,4}_[0-9a-hjkmnp-tv-z]{26})")


def new(*, at: float | None = None, after: str = "") -> str:
    """Return a new ULID, greater than the ULID `after`, for the time `at` (epoch seconds; now if left out)."""
    millis = int((time.time() if at is None else at) * 1000)
    number = (millis << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    if after:
        number = max(number, _number(after) + 1)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range((_LENGTH - 1) * 5, -1, -5))


def _number(ulid: str) -> int:
    value = 0
    for character in ulid:
        value = (value << 5) | _ALPHABET.index(character)
    return value


def conversation_id() -> str:
    """Return a new conversation id."""
    return f"cnv_{new()}"


def turn_ids(previous_message_id: str | None) -> tuple[str, str]:
    """Return `(job_id, message_id)` of a new turn, both greater than those of the turn before.

    A conversation's messages sort by their ids: the user's ends in 0, its answer's in 1.
    """
    ulid = new(after=previous_message_id[4:30] if previous_message_id else "")
    return f"job_{ulid}", f"msg_{ulid}0"


def job_id(message_id: str) -> str:
    """Return the id of the job that a message, of either role, belongs to."""
    return f"job_{message_id[4:30]}"


def reply_id(message_id: str) -> str:
    """Return the id of the answer to the user message `message_id`."""
    return f"{message_id[:-1]}1"


def part_id(part: str) -> str:
    """Return a new id for a running part (a worker, a gateway), such as `wrk_…`."""
    return f"{part}_{new()}"


def is_id(text: str, prefix: str) -> bool:
    """Tell whether `text` is an id of the kind `prefix` (`cnv`, `job`, `msg`)."""
    return text.startswith(f"{prefix}_") and _ID.fullmatch(text) is not None


def made_at(identifier: str) -> float | None:
    """Return when an id was made, epoch seconds, by its maker's clock; None where it is no id of ours."""
    if _ID.fullmatch(identifier) is None:
        return None
    return (_number(identifier.partition("_")[2][:_LENGTH]) >> _RANDOM_BITS) / 1000


def now() -> str:
    """Return the time now as ISO 8601 with milliseconds, UTC: `2026-11-22T21:12:00.123Z`."""
    return iso(time.time())


def iso(at: float) -> str:
    """Return epoch seconds as ISO 8601 with milliseconds, UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
