"""The budgets that are set, and what a message may cost at most: one request of the dearest of the LLMs that may answer it.

A token is a byte at least. Of a conversation the sizes of its last turns are kept with it, as they were accepted, since the LLM
sees no others; an answer has as many tokens as it may have. No I/O but the file of prices.
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING

from cloudia.cloud.budgets import Budgets
from cloudia.cloud.routes import named_routes
from cloudia.errors import UsageError
from cloudia.prices.llm import LlmPrices, own_prices
from cloudia.prices.price import nanodollars
from cloudia.providers import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.settings import Settings

__all__ = ["Reserve", "budgets_of", "no_price"]

_MARKS = 16
"""Tokens around two messages, rather too many."""


def budgets_of(settings: Settings) -> Budgets:
    """Return the budgets that the settings name."""
    named = (settings.limits_user_dollars_per_day, settings.limits_stack_dollars_per_day)
    return Budgets(*(int(Decimal(repr(dollars)) * 1_000_000_000) for dollars in named))


class Reserve:
    """What messages may cost, by the settings. `UsageError` where they have prices that are none."""

    def __init__(self, settings: Settings) -> None:
        self._prices = LlmPrices(own_prices(settings.llm_prices))
        self._routes = [(name, model or PROVIDERS[name].default_model) for name, model in named_routes(settings)]
        self._answer = settings.llm_max_tokens
        self._around = len(settings.llm_system_prompt.encode()) + _MARKS
        self._turns = settings.limits_context_messages // 2 + 1

    def turns(self, before: Sequence[int], content: str) -> list[int]:
        """Return the sizes of the turns that the next message will see, in tokens at most: those before, and this one's."""
        return [*before, len(content.encode()) + self._answer + _MARKS][-self._turns :]

    def most(self, turns: Sequence[int]) -> int:
        """Return what the answer to the last of these turns may cost, in billionths of a dollar.

        `UsageError` where a price is not known: nothing could be held to a budget.
        """
        tokens = self._around + sum(turns) - self._answer
        return max(self._at(name, model, tokens) for name, model in self._routes)

    def _at(self, provider: str, model: str, tokens: int) -> int:
        price = self._prices.price(provider, model, at=time.time())
        if price is None:
            raise no_price(provider, model)
        return nanodollars(price.most(tokens, self._answer))


def no_price(provider: str, model: str) -> UsageError:
    """Return what it means for a budget that a model's price is not known."""
    return UsageError(
        f"there is a budget, and the price of {provider} {model} is not known",
        hint="Set llm.prices, or set limits.user_dollars_per_day and limits.stack_dollars_per_day to 0.",
        code="no_price",
    )
