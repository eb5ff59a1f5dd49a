"""The secrets that a process knows, replaced by value wherever they stand in what it logs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from cloudia.passwords import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["keep_secrets", "scrubbed"]

_LEAST = 6
"""Characters. What is shorter is a word, or part of one, in half of all lines."""

_known: set[str] = set()
"""Each secret in each form that it may stand in."""
_pattern: re.Pattern[str] | None = None


def keep_secrets(values: Iterable[str]) -> None:
    """Keep these out of the log from now on, with their JSON-escaped and URL-encoded forms."""
    global _pattern  # noqa: PLW0603 - of a process, as its log is
    new = {form for value in values if len(value) >= _LEAST for form in _forms(value)} - _known
    if new:
        _known.update(new)
        # The longest first: of two secrets the one may begin with the other.
        longest = sorted(_known, key=len, reverse=True)
        _pattern = re.compile("|".join(map(re.escape, longest)))


def scrubbed(document: str) -> str:
    """Return a JSON document of a line without the secrets that are known."""
    if _pattern is None or not _pattern.search(document):
        return document
    # Not replaced in the document as it is: a match across an escape would leave half of it behind.
    return json.dumps(_cleaned(json.loads(document)), ensure_ascii=False, separators=(",", ":"))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _pattern.sub(MASK, value) if _pattern else value
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(inner) for name, inner in value.items()}
    return [_cleaned(inner) for inner in value] if isinstance(value, list) else value


def _forms(value: str) -> Iterator[str]:
    """Yield a secret as it is, as URLs and `repr` have it, and each of them as JSON has it, three documents deep."""
    encoded = (quote(value, safe=safe, errors="replace") for safe in ("", "/"))
    forms = {value, *encoded, quote_plus(value, errors="replace"), repr(value)[1:-1]}
    for _ in range(3):
        yield from forms
        forms = {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (True, False)}
    yield from forms
