"""Reading JSON that others wrote: each field by its name and its type, or an error that names it."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "JSON",
    "FieldError",
    "clean",
    "decode",
    "flag",
    "integer",
    "known",
    "number",
    "obj",
    "objects",
    "strings",
    "text",
]

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class FieldError(ValueError):
    """What is wrong with a body: `problem` of the field `name`, which is empty for the body as a whole."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} {problem}".strip())
        self.name = name
        self.problem = problem


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


JSON = json.JSONDecoder(parse_constant=_no_constant)
"""Decodes JSON as the standard has it: without NaN and Infinity."""


def decode(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`. Raises FieldError for anything else."""
    try:
        # RecursionError: brackets nested by the thousand. ValueError also covers integers of thousands of digits.
        body = JSON.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FieldError("", "the body is not valid JSON") from error
    if not isinstance(body, dict):
        raise FieldError("", "the body must be a JSON object")
    return body


def clean(value: str) -> str:
    """Return `value` as text that UTF-8 can carry: JSON may escape half a surrogate pair."""
    return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)


def known(data: Mapping[str, Any], names: Collection[str]) -> None:
    """Raise FieldError for the first field that is not one of `names`."""
    for name in data:
        if name not in names:
            raise FieldError(clean(name)[:80], f"is not a field; there are {', '.join(sorted(names))}")


def text(data: Mapping[str, Any], name: str, *, empty: bool = False) -> str | None:
    """Return the string field `name`, which may be "" only if `empty`; None if it is absent or null."""
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise FieldError(name, "must be a string")
    if not value and not empty:
        raise FieldError(name, "must not be empty")
    return clean(value)


def flag(data: Mapping[str, Any], name: str) -> bool:
    """Return the boolean field `name`; False if it is absent or null."""
    value = data.get(name)
    if value is not None and not isinstance(value, bool):
        raise FieldError(name, "must be true or false")
    return bool(value)


def number(data: Mapping[str, Any], name: str, *, least: float = 0.0, most: float) -> float | None:
    """Return the numeric field `name`, within `least` and `most`; None if it is absent or null."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FieldError(name, "must be a number")
    # A whole number of hundreds of digits is no float; comparing it does not need one.
    if not least <= value <= most:
        raise FieldError(name, f"must be {_range(least, most)}")
    return float(value)


def integer(data: Mapping[str, Any], name: str, *, least: float = -math.inf, most: float = math.inf) -> int | None:
    """Return the whole-number field `name`, within `least` and `most`; None if it is absent or null."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise FieldError(name, "must be a whole number")
    if not least <= value <= most:
        raise FieldError(name, f"must be {_range(least, most)}")
    return value


def _range(least: float, most: float) -> str:
    return f"at least {least:g}" if math.isinf(most) else f"between {least:g} and {most:g}"


def obj(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object field `name`; empty if it is absent or null."""
    value = data.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FieldError(name, "must be an object")
    return value


def objects(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the field `name`, a list of objects; empty if it is absent or null."""
    value = data.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise FieldError(name, "must be a list of objects")
    return value


def strings(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the field `name`, a string or a list of strings; empty if it is absent or null."""
    value = data.get(name)
    if value is None:
        return ()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise FieldError(name, "must be a string or a list of strings")
    return tuple(clean(item) for item in listed)
