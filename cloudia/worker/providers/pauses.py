"""For how long a provider asks to be left alone: in headers of several makes, or in its error's body alone. No I/O.

`Retry-After` (RFC 9110, 10.2.3) is the standard. OpenAI and Azure have `retry-after-ms` beside it. Gemini has `retryDelay` in
its error's details, Groq and OpenAI say it in the message, OpenRouter puts headers into the body. Last come the headers that
tell when a budget is filled anew, which are on every answer: they count where the error is that one is used up.
"""

from __future__ import annotations

import email.utils
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["pause_of_body", "pause_of_headers", "pause_until_reset"]

_MOST = 600.0
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e11
"""From where on a number is a time of the clock and no duration."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|s|m|h)[a-z]*", re.IGNORECASE)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_SAID = re.compile(
    r"(?:try again|retry|wait|available|reset)[^.\d]{0,40}?"
    r"((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|s|sec(?:ond)?s?|m|min(?:ute)?s?|h|hours?)(?![a-z])(?:[\s,]|and )*)+)",
    re.IGNORECASE,
)
_FIELDS = {
    "retry_after": 1.0,
    "retry_after_seconds": 1.0,
    "retry_after_ms": 0.001,
    "retrydelay": 1.0,
    "retry-after": 1.0,
}
"""Of an error's object, in lower case, and what their numbers count in seconds."""


def pause_of_headers(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for, as a number or a date; at most ten minutes."""
    fine = _number(headers.get("retry-after-ms", ""))
    if fine is not None:
        return _bounded(fine / 1000)
    return _seconds(headers.get("retry-after", ""))


def pause_of_body(levels: Iterable[Mapping[str, Any] | str]) -> float | None:
    """Return what an error's objects and texts ask for, the first that asks."""
    for level in levels:
        found = _said(level) if isinstance(level, str) else _of_object(level)
        if found is not None:
            return found
    return None


def pause_until_reset(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until the budget that is used up is filled anew, of a refusal for that reason."""
    waits = [(left, wait) for left, wait in _budgets(headers) if wait is not None]
    empty = [wait for left, wait in waits if not left]
    return max(empty) if empty else min((wait for _, wait in waits), default=None)


def _budgets(headers: Mapping[str, str]) -> Iterator[tuple[float | None, float | None]]:
    """Yield what is left of each budget (None where that is not told), and the seconds until it is filled anew."""
    for name, value in headers.items():
        key = name.lower()
        if "ratelimit" not in key.replace("-limit", "limit") or "reset" not in key:
            continue
        left = headers.get(key.replace("reset", "remaining"))
        yield _number(left or ""), _seconds(value)


def _of_object(level: Mapping[str, Any]) -> float | None:
    for key, unit in _FIELDS.items():
        for name, value in level.items():
            if name.lower() != key or isinstance(value, bool):
                continue
            if isinstance(value, int | float):
                return _bounded(value * unit)
            if isinstance(value, str) and (found := _seconds(value)) is not None:
                return found
    headers = level.get("headers")
    if isinstance(headers, dict):
        texts = {str(name).lower(): str(value) for name, value in headers.items()}
        told = pause_of_headers(texts)
        return pause_until_reset(texts) if told is None else told
    message = level.get("message")
    return _said(message) if isinstance(message, str) else None


def _said(text: str) -> float | None:
    """Return the duration of `Please try again in 1m2.5s`."""
    found = _SAID.search(text[:4096])
    return _bounded(_duration(found[1])) if found else None


def _seconds(text: str) -> float | None:
    """Return the seconds that a header's value is from now: a number, a duration as Go writes it, or a time of the clock."""
    text = text.strip()
    number = _number(text)
    if number is not None:
        if number > _EPOCH_SECONDS:
            number = (number / 1000 if number > _EPOCH_MILLISECONDS else number) - time.time()
        return _bounded(number)
    if _DURATION.fullmatch(text):
        return _bounded(_duration(text))
    for read in (datetime.fromisoformat, email.utils.parsedate_to_datetime):
        try:
            at = read(text)
        except ValueError:
            continue
        return _bounded(at.timestamp() - time.time())
    return None


def _duration(text: str) -> float:
    parts = _PART.findall(text)
    return sum(float(count) * _UNITS["ms" if unit.lower() == "milli" else unit.lower()] for count, unit in parts)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number == number and number != float("-inf") else None  # noqa: PLR0124 - not a NaN


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _MOST)
