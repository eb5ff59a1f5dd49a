"""Budgets: what a user, and the whole stack, may spend on LLMs in a day (UTC). Decisions without I/O, and the writes to make.

A day's budget is an item with one number, `committed`, in billionths of a dollar: what was spent, and what is held for jobs
that have not ended. A job holds what its next request may cost from the transaction that accepts it on; a worker that asks for
more takes it before it makes the request; the transaction that ends the job gives back what was not spent. So the number never
passes the budget, whoever dies. A hold is of its day's item, and is gone with it. An attempt that nobody ended may have spent
all that its job had leave for, and counts as that.

The stack's item is written by every message, twice: one item, and no shards, because a share of a small budget would be less
than a message may cost. DynamoDB lets one transaction at a time have it: some tens of messages a second, the others try again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudia.cloud.items import to_item, values
from cloudia.errors import PaymentRequiredError

if TYPE_CHECKING:
    from cloudia.protocol import Job

__all__ = ["Budgets", "Hold", "committing", "over_budget"]

_KEPT_DAYS = 8
"""Longer than any job is open: the reconciler ends those that nobody answers."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What a job has leave to spend, in billionths of a dollar, and of which budgets."""

    keys: tuple[str, ...]
    held: int
    spent: int = 0

    @classmethod
    def of(cls, job: Job) -> Hold | None:
        """Return what a job holds as the attempt begins that was leased last; None where it holds nothing."""
        if job.hold is None:
            return None
        hold = cls(tuple(job.hold["keys"]), job.hold["held"], job.hold["spent"])
        before = job.attempt_history[:-1]
        return hold if not before or before[-1].outcome else replace(hold, spent=hold.held)

    def to_json(self) -> dict[str, Any]:
        """Return what the job's record has of it."""
        return {"keys": list(self.keys), "held": self.held, "spent": self.spent}

    def spending(self, amount: int) -> Hold:
        """Return it when so much more was spent."""
        return replace(self, spent=self.spent + amount)


@dataclass(frozen=True, slots=True)
class Budgets:
    """What may be spent in a day, in billionths of a dollar; 0 is no limit."""

    user: int = 0
    stack: int = 0

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return bool(self.user or self.stack)

    def keys(self, user_id: str, *, now: float) -> tuple[str, ...]:
        """Return the keys of today's items; no other item's key is like them, and they name nobody."""
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        user = hashlib.sha256(user_id.encode()).hexdigest()
        named = {f"{_USER}{user}-{day}": self.user, f"{_STACK}{day}": self.stack}
        return tuple(key for key, limit in named.items() if limit)

    def limit(self, key: str) -> int:
        """Return the limit of an item; 0 where it has none any more."""
        return self.user if key.startswith(_USER) else self.stack


_USER, _STACK = "budget-user-", "budget-stack-"


def committing(table: str, keys: tuple[str, ...], amount: int, *, now: float, budgets: Budgets | None) -> list[Any]:
    """Return the writes that add an amount to budgets, or give one back. With `budgets`, each on condition that it fits.

    `PaymentRequiredError` where it fits no day's budget.
    """
    writes = []
    for key in keys:
        update: dict[str, Any] = {
            "TableName": table,
            "Key": to_item({"key": key}),
            "UpdateExpression": "SET expires_at = :expires ADD committed :amount",
            "ExpressionAttributeValues": values(expires=int(now) + _KEPT_DAYS * 86_400, amount=amount),
        }
        limit = budgets.limit(key) if budgets else 0
        if limit:
            if amount > limit:
                raise over_budget(key, now=now)
            update["ConditionExpression"] = "attribute_not_exists(committed) OR committed <= :most"
            update["ExpressionAttributeValues"] |= values(most=limit - amount)
        writes.append({"Update": update})
    return writes


def over_budget(key: str, *, now: float) -> PaymentRequiredError:
    """Return what is told of a budget that does not reach."""
    whose = "your" if key.startswith(_USER) else "the service's"
    return PaymentRequiredError(
        f"{whose} budget for today does not reach for this message",
        hint="Wait for the answers that are under way, or until 00:00 UTC.",
        code="budget_exceeded",
        retry_after=86_400 - int(now) % 86_400,
    )
