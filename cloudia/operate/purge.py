"""Throwing messages away: what of a queue is deleted, and what is recorded of its jobs first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudia.cloud.job_records import Held, Unknown
from cloudia.operate.letters import read_letter
from cloudia.operate.peek import Hands

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.cloud.jobs import Jobs
    from cloudia.cloud.queue import JobQueue

__all__ = ["PURGED", "Purged", "purge_messages"]

PURGED = {
    "code": "purged",
    "message": "This message was taken out of the queue by an operator, and is not answered.",
    "hint": "Send it again.",
    "retryable": True,
    "retry_after": None,
}
"""The failure that is recorded on a job whose only message is thrown away: nothing is lost silently."""


@dataclass(slots=True)
class Purged:
    """What a purge did: messages deleted, jobs that were recorded as failed for it, and messages left as they are."""

    deleted: int = 0
    failed: list[str] = field(default_factory=list)
    left: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the counts."""
        return {"deleted": self.deleted, "failed_job_ids": self.failed, "left": self.left}


def purge_messages(
    queue: JobQueue,
    jobs: Jobs,
    owner: str,
    *,
    patience: float,
    wanted: set[str] | None = None,
    until: float | None = None,
    done: Callable[[int], None] | None = None,
) -> Purged:
    """Delete messages: those of `wanted` ids, or those sent before `until` (epoch seconds)."""
    purged = Purged()
    left = set(wanted) if wanted is not None else None
    with Hands(queue) as hands:
        batches = hands.all(patience=patience)
        while (left is None or left) and (taken := next(batches, None)) is not None:
            gone = []
            for message in taken:
                if left is not None:
                    if message.message_id not in left:
                        continue
                    left.discard(message.message_id)
                elif until is not None and message.sent_at > until:
                    continue
                hands.renew()
                job = read_letter(message).job
                if job and not _has_ended(jobs, job.job_id, owner, purged):
                    purged.left += 1
                    continue
                gone.append(message)
            hands.delete(gone)
            purged.deleted += len(gone)
            if done:
                done(len(gone))
        if left is None:
            purged.left = queue.stats().total
        elif hands.unseen:
            purged.left += len(left)
    return purged


def _has_ended(jobs: Jobs, job_id: str, owner: str, purged: Purged) -> bool:
    """End a job as failed where it has not ended. False where a worker has it now."""
    before = purged.failed
    match jobs.abandon(job_id, owner=owner, error=PURGED):
        case Held():
            return False
        case Unknown():
            return True
        case job:
            if job.error == PURGED and job_id not in before:
                before.append(job_id)
            return True
