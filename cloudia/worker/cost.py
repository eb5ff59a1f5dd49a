"""What an attempt cost: its requests, at the prices of the models that were asked."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.errors import CloudiaError
from cloudia.prices.llm import LlmPrices, built_in, own_prices
from cloudia.worker.providers.base import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from cloudia.prices.price import Price
    from cloudia.settings import Settings

__all__ = ["Costs", "Spent", "usage_of"]

_PLACES = 12
"""Far below a token of the cheapest model, and within the numbers that DynamoDB holds."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one request to a provider used, also of one that failed or was broken off."""

    provider: str
    url: str
    """Where it was asked, if not at its own URL."""
    model: str
    at: float
    """Epoch seconds."""
    usage: Usage
    counted: Usage | None
    """What the provider told of it; None where it told nothing."""
    told: bool
    """Whether the provider told it, at the answer's end; else `usage` is an estimate, of what was sent and what came."""


class Costs:
    """The prices of a worker. What it cannot find out costs no answer: it is not known."""

    def __init__(self, settings: Settings) -> None:
        self._prices = LlmPrices(own_prices(settings.llm_prices))
        self._looked = self._broken = False

    def price(self, provider: str, model: str, *, url: str, at: float) -> Price | None:
        """Return the price of a model, None where it is not known."""
        if self._broken:
            return self._prices.own(provider, model)
        try:
            found = self._prices.price(provider, model, url=url, at=at)
            if not (self._looked or self._prices.own(provider, model)):
                self._looked = True
                if built_in().is_old(datetime.now(UTC).date()):
                    telemetry.log("prices are old", level=logging.WARNING, date=built_in().day.isoformat())
        except CloudiaError as error:
            self._broken = True
            telemetry.log("prices not read", level=logging.ERROR, code=error.code, reason=error.message)
            return None
        return found

    def cost(self, spent: Sequence[Spent]) -> Decimal | None:
        """Return what requests cost together, in US dollars; None where the price of one is not known, or none was made."""
        found = []
        for each in spent:
            price = self.price(each.provider, each.model, url=each.url, at=each.at)
            if price is None:
                return None
            found.append(
                price.cost(
                    each.usage.input_tokens,
                    each.usage.output_tokens,
                    cache_read_tokens=each.usage.cache_read_tokens,
                    cache_write_tokens=each.usage.cache_write_tokens,
                    reasoning_tokens=each.usage.reasoning_tokens,
                )
            )
        return sum(found[1:], start=found[0]) if found else None


def usage_of(spent: Sequence[Spent], cost: Decimal | None) -> dict[str, float] | None:
    """Return what a record holds of requests: the tokens that were told, what is estimated beside them, and the cost.

    An estimate is never told as tokens: who reads those reads what the vendor means, or nothing.
    """
    if not spent:
        return None
    counted = [each.counted for each in spent if each.counted]
    usage: dict[str, float] = {**sum(counted[1:], start=counted[0]).to_json()} if counted else {}
    guessed = [(each.usage, each.counted or Usage(0, 0)) for each in spent if not each.told]
    if guessed:
        usage["estimated_requests"] = len(guessed)
        usage["estimated_input_tokens"] = sum(whole.input_tokens - told.input_tokens for whole, told in guessed)
        usage["estimated_output_tokens"] = sum(whole.output_tokens - told.output_tokens for whole, told in guessed)
    if cost is not None:
        usage["cost_usd"] = float(round(cost, _PLACES))
    return usage
