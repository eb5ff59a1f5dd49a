"""What a test leaves behind: jobs that have not ended, and what it taught the workers of their provider.

The jobs are ended before the next test, whoever sent them; the workers forget.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from cloudia import ids
from cloudia.cloud.job_records import Held
from cloudia.cloud.stops import publish_stop
from cloudia.errors import TimedOutError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudia.cloud.cloud import Cloud
    from cloudia.local.run_file import PartRecord

__all__ = ["FORGET", "end_jobs", "make_forget"]

FORGET = signal.SIGURG
"""At which a worker of `cloudia.testing.worker` forgets. One that is still starting ignores it, and has nothing to forget."""
_END_SECONDS = 60.0
"""Longer than it takes a part that a test killed to be back, and the lease of a worker to run out."""
_LOOK_SECONDS = 0.02
_MOST = 100


def end_jobs(cloud: Cloud, *, seconds: float = _END_SECONDS) -> None:
    """End every job that is open. One that nobody has ends here and now; the worker that has it is told to stop.

    `TimedOutError` names one that is still open after `seconds`.
    """
    owner, told, deadline = ids.part_id("test"), set[str](), time.monotonic() + seconds
    while True:
        late = time.monotonic() > deadline
        try:
            held = _end_or_stop(cloud, owner, told)
        except UnavailableError:  # A test may have killed the engine; it comes back.
            if late:
                raise
        else:
            if not held:
                return
            if late:
                raise TimedOutError(
                    f"{held[0]}, which a test left behind, has not ended within {seconds:g} s",
                    hint="Does the responder wait in code that cannot be cancelled?",
                )
        time.sleep(_LOOK_SECONDS)


def make_forget(parts: Iterable[PartRecord]) -> None:
    """Make the workers forget pauses, open breakers and fields that were refused. What comes next finds them as they began."""
    for part in parts:
        if part.kind == "worker" and part.process:
            part.process.send(FORGET)


def _end_or_stop(cloud: Cloud, owner: str, told: set[str]) -> list[str]:
    """End the open jobs. Return those that a worker has; it is asked, once, to stop each, as `cancel_job` does."""
    held = []
    for job_id, _ in cloud.jobs.in_state("open", most=_MOST):
        if not isinstance(cloud.jobs.abandon(job_id, owner=owner, status="cancelled"), Held):
            continue
        held.append(job_id)
        if job_id not in told:
            for job in cloud.jobs.records([job_id]).values():
                cloud.jobs.request_cancel(job_id, job.user_id)
            publish_stop(cloud.settings.redis_url, cloud.settings.stack_name, job_id)
            told.add(job_id)
    return held
