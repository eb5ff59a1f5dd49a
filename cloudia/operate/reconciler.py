"""The reconciler: a job that nobody has had to do with for a while is sent again, and at last ended; none is open for ever.

Each is claimed in its record before it is sent, so that of several reconcilers one does it. One that was killed in between
leaves it to the next. Sent twice it is answered once: a worker that finds a job ended tells its end, and deletes the message.
So the message of a job that is ended here is sent, too: whoever waits for it is told by a worker.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from cloudia import ids
from cloudia.cloud.job_records import Held
from cloudia.cloud.queue import Sending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudia.cloud.history import History
    from cloudia.cloud.jobs import Jobs
    from cloudia.cloud.orphans import OpenJob, Orphans
    from cloudia.cloud.queue import JobQueue
    from cloudia.protocol import QueuedJob

__all__ = ["NOT_ANSWERED", "Reconciled", "Reconciler"]

NOT_ANSWERED = {
    "code": "not_answered",
    "message": "This message was given to the workers again and again, and none has answered it.",
    "hint": "Send it again.",
    "retryable": True,
    "retry_after": None,
}
"""The failure that is recorded on a job that nobody ends, however often it is sent."""

_MOST_RESENDS = 10
"""Each waits twice as long as the one before: with 300 s these are 3.5 days, and the queue keeps messages for 4."""
_MOST_JOBS = 1000
"""Jobs that one run sends again; what is left has its turn in the next."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was done with a job: it was sent again, or ended and its end sent."""

    job_id: str
    outcome: Literal["sent", "ended"]
    quiet_seconds: float
    """How long nobody had to do with it."""
    resends: int


class Reconciler:
    """Looks after the jobs of a stack. Blocks; raises `UnavailableError` where AWS is away."""

    def __init__(
        self, orphans: Orphans, jobs: Jobs, history: History, queue: JobQueue, *, after_seconds: float
    ) -> None:
        self._orphans = orphans
        self._jobs = jobs
        self._history = history
        self._queue = queue
        self._after = after_seconds
        self._owner = ids.part_id("rec")

    def run(self) -> Iterator[Reconciled]:
        """Send again, or end, what nobody has had to do with; yield each. A job in work, or about to be, is left alone."""
        done = 0
        for page in self._orphans.open(before=time.time() - self._after):
            for orphan in page:
                quiet = time.time() - orphan.touched_at
                if quiet > self._after * 2**orphan.resends and self._orphans.claim(orphan):
                    yield Reconciled(orphan.job.job_id, self._reconcile(orphan), quiet, orphan.resends + 1)
                    done += 1
                    if done == _MOST_JOBS:
                        return

    def _reconcile(self, orphan: OpenJob) -> Literal["sent", "ended"]:
        job = orphan.job
        question = self._history.message(job.conversation_id, job.message_id)
        ended = False
        if question is None:  # With its conversation; a worker would have been asked to stop.
            ended = self._end(job, status="cancelled")
        elif orphan.resends >= _MOST_RESENDS:
            ended = self._end(job, status="failed", error=NOT_ANSWERED)
        self._send(replace(job, content=question.content if question else ""))
        return "ended" if ended else "sent"

    def _end(self, job: QueuedJob, **how: Any) -> bool:
        return not isinstance(self._jobs.abandon(job.job_id, owner=self._owner, **how), Held)

    def _send(self, job: QueuedJob) -> None:
        fresh = f"{job.job_id}-{secrets.token_hex(8)}"
        self._queue.send_batch([Sending(job.encode(), job.conversation_id, fresh)])
