"""Exceptions as type and place: what a log may tell of them, for their messages may quote anything."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["places", "type_name"]

_FRAMES = 6
_CHAIN = 12
"""Exceptions that are told of one, at most: those it was raised from, and those in its groups."""


def places(error: BaseException) -> str:
    """Return a line for each exception of a chain, as Python orders them: the first is the cause, the last was raised.

    A line is `botocore.exceptions.ClientError at aws.py:7 in call, bot.py:12 in answer`, the innermost of its frames first. No
    message and no line of source is in it.
    """
    return "\n".join([*_lines(error, set())][-_CHAIN:])


def type_name(kind: type[BaseException]) -> str:
    """Return `ValueError` or `package.module.Error`."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    if id(error) in seen or len(seen) >= _CHAIN:
        return
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _lines(before, seen)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from (f"  {line}" for line in _lines(inner, seen))
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)][: -_FRAMES - 1 : -1]
    where = ", ".join(f"{code.co_filename}:{line} in {code.co_name}" for code, line in frames)
    yield f"{type_name(type(error))} at {where}" if where else type_name(type(error))
