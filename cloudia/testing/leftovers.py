"""What a test leaves behind: jobs that have not ended. They are ended before the next test, whoever sent them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cloudia import ids
from cloudia.cloud.job_records import Held
from cloudia.cloud.stops import publish_stop
from cloudia.errors import TimedOutError, UnavailableError

if TYPE_CHECKING:
    from cloudia.cloud.cloud import Cloud

__all__ = ["end_jobs"]

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
