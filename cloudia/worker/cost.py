"""What an answer cost: its tokens at the prices that are configured. No I/O."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudia.worker.providers.base import Usage

__all__ = ["cost_usd"]

_TOKENS = 1_000_000
"""What a price is for."""
_PLACES = 12
"""Far below a token of the cheapest model, and within the numbers that DynamoDB holds."""


def cost_usd(usage: Usage, *, input_price: float | None, output_price: float | None) -> float | None:
    """Return US dollars, of prices in US dollars per million tokens; None where one of the prices is not known."""
    if input_price is None or output_price is None:
        return None
    # In decimals, so that 3 tokens at 0.1 cost 0.0000003 and not 0.00000030000000000000004.
    cost = Decimal(repr(input_price)) * usage.input_tokens + Decimal(repr(output_price)) * usage.output_tokens
    return float(round(cost / _TOKENS, _PLACES))
