"""Allowances: what a user may still send, by jobs in flight and by messages a minute. A decision without I/O, and its item.

The item lies with the idempotency keys and is written in the transaction that accepts the message, on the condition that it is
as it was read: so what was accepted is counted, once, and nothing else is. Jobs that have ended are taken out when a user
comes to the limit, by whoever accepts; nobody has to count down.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cloudia.errors import TooManyRequestsError

if TYPE_CHECKING:
    from collections.abc import Collection

    from cloudia.settings import Settings

__all__ = ["Allowance", "Limits"]

_MINUTE = 60.0
_HOUR = 3600
_BUSY_SECONDS = 5
"""How long a user is asked to wait whose jobs are all in flight: about what an answer takes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What each user may have; 0 is no limit."""

    jobs_per_user: int = 0
    messages_per_minute: int = 0

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits that the settings name."""
        return cls(settings.limits_jobs_per_user, settings.limits_messages_per_minute)

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return bool(self.jobs_per_user or self.messages_per_minute)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a user has used up: a bucket that holds a minute's messages and fills again evenly, and the jobs in flight."""

    version: int = 0
    """Counts the writes; 0 is before the first."""
    full_at: float = 0.0
    """When the bucket is full again, epoch seconds: the messages in it are what fits between then and a minute from now."""
    open_jobs: tuple[str, ...] = ()

    @staticmethod
    def key(user_id: str) -> str:
        """Return the key of a user's item; no hash of an idempotency key is like it."""
        return f"allowance-{hashlib.sha256(user_id.encode()).hexdigest()}"

    @classmethod
    def of(cls, item: dict[str, Any]) -> Allowance:
        """Return what an item says; an empty one is of a user who has sent nothing lately."""
        if not item:
            return cls()
        return cls(item["version"], float(item["full_at"]), tuple(item["open_jobs"]))

    def item(self, user_id: str) -> dict[str, Any]:
        """Return the item to write; it may be dropped an hour after the bucket is full."""
        return {
            "key": self.key(user_id),
            "version": self.version,
            "full_at": self.full_at,
            "open_jobs": list(self.open_jobs),
            "expires_at": int(self.full_at) + 24 * _HOUR,
        }

    def without(self, ended: Collection[str]) -> Allowance:
        """Return it without jobs that are in flight no longer."""
        return replace(self, open_jobs=tuple(job for job in self.open_jobs if job not in ended))

    def full(self, limits: Limits) -> bool:
        """Tell whether as many jobs as may be are in flight, as far as is known here."""
        return 0 < limits.jobs_per_user <= len(self.open_jobs)

    def taken(self, job_id: str, *, now: float, limits: Limits) -> Allowance:
        """Return what is left once a job is accepted. `TooManyRequestsError` where nothing is."""
        if self.full(limits):
            raise TooManyRequestsError(
                f"{limits.jobs_per_user} of your messages are being answered",
                hint="Wait for one of the answers.",
                code="too_many_jobs",
                retry_after=_BUSY_SECONDS,
            )
        full_at = max(self.full_at, now)
        if limits.messages_per_minute:
            full_at += _MINUTE / limits.messages_per_minute
            if full_at > now + _MINUTE + 1e-6:
                wait = math.ceil(full_at - now - _MINUTE)
                raise TooManyRequestsError(
                    f"you have sent {limits.messages_per_minute} messages within a minute",
                    hint=f"Send the message again in {wait} s.",
                    code="too_many_messages",
                    retry_after=wait,
                )
        jobs = (*self.open_jobs, job_id) if limits.jobs_per_user else ()
        return Allowance(self.version + 1, full_at, jobs)
