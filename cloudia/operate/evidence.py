"""Gathers what is known about a job, for `why`: its record, its worker, its letter, its conversation, its session."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from cloudia.errors import NotFoundError, UnavailableError
from cloudia.operate.why import Evidence

if TYPE_CHECKING:
    from cloudia.cloud.cloud import Cloud
    from cloudia.operate.dead_letters import DeadLetters
    from cloudia.protocol import Job
    from cloudia.settings import Settings

__all__ = ["find_job", "gather"]

_EARLIER = 20
"""Messages of the conversation that are looked at for an earlier turn which has not ended."""


def find_job(cloud: Cloud, job_id: str) -> Job:
    """Return a job, whosever it is. `NotFoundError` where there is none, or its record was dropped after 30 days."""
    job = cloud.jobs.records([job_id]).get(job_id)
    if job is None:
        raise NotFoundError(
            f"there is no record of the job {job_id}", hint="`cloudia trace list` shows the last ones.", code="no_job"
        )
    return job


def gather(cloud: Cloud, letters: DeadLetters, settings: Settings, job: Job) -> Evidence:
    """Ask whoever knows something of a job. What cannot be asked now is left out."""
    connected, logged = _session(settings, job)
    return Evidence(
        job=job,
        now=time.time(),
        workers=None if job.ended else cloud.presence.alive("worker"),
        waiting=None if job.ended else cloud.queue.stats().visible,
        letter=_letter(letters, job) if job.status == "dead_lettered" else None,
        earlier=None if job.ended else _earlier(cloud, job),
        connected=connected,
        logged=logged,
    )


def _letter(letters: DeadLetters, job: Job) -> bool | None:
    shelf = letters.look()
    found = any(letter.id == job.job_id for letter in shelf.letters)
    return None if shelf.unseen and not found else found


def _earlier(cloud: Cloud, job: Job) -> str | None:
    """Return the job of the first turn before this one that has not ended."""
    before = cloud.history.before(job.conversation_id, job.message_id, limit=_EARLIER)
    records = cloud.jobs.records(message.job_id for message in before if message.role == "user")
    return next((each.job_id for each in records.values() if not each.ended), None)


def _session(settings: Settings, job: Job) -> tuple[bool | None, bool | None]:
    """Return whether the job's session is connected, and whether its log has the job's end."""
    if not settings.redis_url or job.session_id is None:
        return None, None
    try:
        return asyncio.run(_ask_redis(settings, job.session_id, job.job_id))
    except UnavailableError:
        return None, None


async def _ask_redis(settings: Settings, session_id: str, job_id: str) -> tuple[bool, bool]:
    from cloudia.cloud.realtime import Realtime  # noqa: PLC0415 - where there is a Redis
    from cloudia.cloud.sessions import Sessions  # noqa: PLC0415 - where there is a Redis

    realtime = Realtime(settings)
    try:
        connected = await Sessions(realtime.redis, settings.stack_name).connected(session_id)
        return connected, await realtime.log.has_end(session_id, job_id)
    finally:
        await realtime.aclose()
