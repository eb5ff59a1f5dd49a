"""Which messages a stack had last, by the index of states: never by a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudia.cloud.job_index import ENDS
from cloudia.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.cloud.cloud import Cloud
    from cloudia.cloud.job_index import JobState
    from cloudia.protocol import Job

__all__ = ["FAILED", "STATES", "last_of", "recent"]

FAILED: tuple[JobState, ...] = ("failed", "dead_lettered")
STATES: tuple[JobState, ...] = ("open", *ENDS)


def recent(cloud: Cloud, states: Sequence[JobState] = STATES, *, since: float = 0.0, most: int) -> list[Job]:
    """Return up to `most` jobs of these states that came into them after `since` (epoch seconds), newest first.

    An index is behind its table for a moment: what was accepted or ended just now may be missing.
    """
    entries = [entry for state in states for entry in cloud.jobs.in_state(state, since=since, most=most)]
    newest = sorted(entries, key=lambda entry: entry[1], reverse=True)[:most]
    records = cloud.jobs.records(job_id for job_id, _ in newest)
    return [records[job_id] for job_id in dict.fromkeys(job_id for job_id, _ in newest) if job_id in records]


def last_of(cloud: Cloud, conversation_id: str) -> Job:
    """Return the job of a conversation's last message. `NotFoundError` where there is none."""
    messages = cloud.history.before(conversation_id, "~", limit=1)  # Behind every id.
    jobs = cloud.jobs.records(message.job_id for message in messages)
    if not jobs:
        raise NotFoundError("there is no such conversation, or nothing in it", code="no_conversation")
    return next(iter(jobs.values()))
