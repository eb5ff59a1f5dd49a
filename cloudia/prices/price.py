"""The price of a model, and what tokens cost at it. No I/O.

Counted as genai-prices does: a part that has a price of its own (read from a cache, written to it, reasoning) is taken out of
the whole that it belongs to, and past a threshold of input tokens all tokens have the price of that tier.
https://github.com/pydantic/genai-prices
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PARTS", "Price", "Rate", "nanodollars"]

_TOKENS = 1_000_000
_REQUESTS = 1_000
_HIGHEST = Decimal(1_000_000)
"""US dollars for a million tokens; beyond it a price is an error."""
PARTS = ("input", "output", "cache_read", "cache_write", "reasoning", "requests")

Rate: TypeAlias = tuple[Decimal, tuple[tuple[int, Decimal], ...]]
"""A price, and what it is for requests of more input tokens than a number: `(1.25, ((200000, 2.5),))`."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs by part, in US dollars for a million tokens, or for a thousand requests."""

    rates: Mapping[str, Rate]

    @classmethod
    def decode(cls, value: Any) -> Price | None:
        """Return the price that `{"input": 1, "output": 2.5}` says; None where that is no price of a chat.

        A part may be `[1, [200000, 2]]`: 1, and 2 where the input has more than 200,000 tokens. `ValueError` says what is
        wrong with a part.
        """
        if not isinstance(value, dict) or not value.keys() <= set(PARTS):
            raise ValueError(f"a price has the parts {', '.join(PARTS)}")
        rates = {name: _rate(name, given) for name, given in value.items()}
        return cls(rates) if {"input", "output"} <= rates.keys() else None

    def cost(
        self,
        input_tokens: int,
        output_tokens: int,
        *,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        reasoning_tokens: int = 0,
    ) -> Decimal:
        """Return what one request costs, in US dollars. Input and output are all of it, with their parts."""
        counts = {"cache_read": cache_read_tokens, "cache_write": cache_write_tokens, "reasoning": reasoning_tokens}
        own = {name: count for name, count in counts.items() if name in self.rates}
        own["input"] = input_tokens - own.get("cache_read", 0) - own.get("cache_write", 0)
        own["output"] = output_tokens - own.get("reasoning", 0)
        tokens = sum((max(0, count) * self._at(name, input_tokens) for name, count in own.items()), Decimal(0))
        return tokens / _TOKENS + self._at("requests", input_tokens) / _REQUESTS

    def most(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Return what one request with no more tokens than these may cost, whatever parts they turn out to have."""
        read = [self._at(name, input_tokens) for name in ("input", "cache_read", "cache_write")]
        written = [self._at(name, input_tokens) for name in ("output", "reasoning")]
        tokens = max(read) * input_tokens + max(written) * output_tokens
        return tokens / _TOKENS + self._at("requests", input_tokens) / _REQUESTS

    def _at(self, part: str, input_tokens: int) -> Decimal:
        if part not in self.rates:
            return Decimal(0)
        rate, tiers = self.rates[part]
        return next((dearer for more_than, dearer in reversed(tiers) if input_tokens > more_than), rate)


def nanodollars(dollars: Decimal) -> int:
    """Return whole billionths of a dollar, rounded up: what budgets count in."""
    return math.ceil(dollars * 1_000_000_000)


def _rate(name: str, given: Any) -> Rate:
    base, *tiers = given if isinstance(given, list) and given else [given]
    if not all(isinstance(tier, list) and len(tier) == 2 and type(tier[0]) is int for tier in tiers):  # noqa: PLR2004
        raise ValueError(f"{name} has a tier that is not [more tokens than, price]")
    found = tuple((start, _number(name, price)) for start, price in sorted(tiers, key=lambda tier: int(tier[0])))
    return _number(name, base), found


def _number(name: str, given: Any) -> Decimal:
    number = Decimal(str(given)) if type(given) in {int, float, Decimal} else Decimal("NaN")
    if not (number.is_finite() and 0 <= number <= _HIGHEST):
        raise ValueError(f"{name} is no number from 0 to {_HIGHEST:,}")
    return number
