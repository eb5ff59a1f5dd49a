"""Choices that look random and never change: digests instead of `random`, the same on every machine and Python."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Dice", "digest", "fraction"]

T = TypeVar("T")


def digest(*parts: str | int) -> str:
    """Return 32 hexadecimal digits that depend on `parts`, and on where one ends and the next begins."""
    hasher = blake2b(digest_size=16)
    for part in parts:
        raw = str(part).encode("utf-8", "surrogatepass")
        hasher.update(b"%d:" % len(raw))
        hasher.update(raw)
    return hasher.hexdigest()


def fraction(*parts: str | int) -> float:
    """Return a number in [0, 1) that depends on `parts`."""
    return int(digest(*parts)[:13], 16) / 16**13


class Dice:
    """A row of choices that follows from `key`."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._rolls = 0

    def below(self, limit: int) -> int:
        """Return a whole number from 0 up to, not including, `limit`."""
        self._rolls += 1
        return int(digest(self._key, self._rolls)[:8], 16) % limit

    def pick(self, options: Sequence[T]) -> T:
        """Return one of `options`, which are not empty."""
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """Return up to `count` different ones of `options`, shuffled."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(min(count, len(left)))]
