"""What an attempt may spend: before each request to a provider, its job holds what that may cost, or it is not made."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from cloudia.cloud.budgets import Hold
from cloudia.cloud.reserve import no_price
from cloudia.errors import PaymentRequiredError
from cloudia.prices.price import nanodollars
from cloudia.worker.context import most_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.cloud.budgets import Budgets
    from cloudia.cloud.job_records import Lease
    from cloudia.cloud.jobs import Jobs
    from cloudia.errors import CloudiaError
    from cloudia.worker.cost import Costs, Spent
    from cloudia.worker.llm import Asked

__all__ = ["NotPaidError", "Purse"]


class NotPaidError(Exception):
    """A request was not made: a budget does not reach for it, or nobody knows what it may cost."""

    def __init__(self, reason: CloudiaError) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Purse:
    """What one attempt has leave to spend, where there are budgets."""

    def __init__(self, jobs: Jobs, lease: Lease, costs: Costs, budgets: Budgets) -> None:
        self._jobs = jobs
        self._lease = lease
        self._costs = costs
        self._budgets = budgets
        self._asking = asyncio.Lock()
        self._hold = Hold.of(lease.job)
        if self._hold is None and budgets.any:  # It was accepted before there were any, or redriven.
            self._hold = Hold(budgets.keys(lease.job.user_id, now=time.time()), held=0)

    async def ask(self, asked: Asked, under_way: Sequence[Asked], spent: Sequence[Spent]) -> None:
        """Hold what a request may cost, beside those under way and what the others have used.

        `NotPaidError` where that cannot be.
        """
        if self._hold is None:
            return
        async with self._asking:
            needed = self._used(spent) + sum(self._most(each) for each in (*under_way, asked))
            lacking = self._hold.spent + needed - self._hold.held
            if lacking <= 0:
                return
            try:
                self._hold = await asyncio.to_thread(self._jobs.extend, self._lease, self._hold, lacking, self._budgets)
            except PaymentRequiredError as error:
                raise NotPaidError(error) from error

    def after(self, under_way: Sequence[Asked], spent: Sequence[Spent]) -> Hold | None:
        """Return what the job holds, once the attempt ends. What is under way even so may cost all that it may."""
        if self._hold is None:
            return None
        return self._hold.spending(self._used(spent) + sum(self._most(each) for each in under_way))

    def _used(self, spent: Sequence[Spent]) -> int:
        cost = self._costs.cost(spent)
        if (
            cost is None
        ):  # Nothing was used; else what was asked for has lost its price since, and all of the hold may be gone.
            return max(0, self._hold.held - self._hold.spent) if spent and self._hold else 0
        return nanodollars(cost)

    def _most(self, asked: Asked) -> int:
        route, request = asked
        price = self._costs.price(route.provider.name, request.model, url=route.url, at=time.time())
        if price is None:
            raise NotPaidError(no_price(route.provider.name, request.model))
        return nanodollars(price.most(most_tokens(request), request.max_tokens))
