"""`cloudia queue`: counted, looked into, emptied; nothing is lost silently."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.terminal import CTRL_C, terminal
from tests.support import Cloud, RunningStack, cli, elsewhere

if TYPE_CHECKING:
    from pathlib import Path


class Elsewhere:
    """A cloud without a worker, as a folder sees it whose settings name it."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        self.environment = {**elsewhere(cloud.settings), "CLOUDIA_STACK_NAME": cloud.stack.name}

    def json(self, *arguments: str) -> Any:
        done = cli(*arguments, "--json", folder=self.folder, environment=self.environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def accept(self, count: int) -> list[str]:
        jobs = []
        for _ in range(count):
            job = self.cloud.accept("secret")
            self.cloud.queue.send(job)
            jobs.append(job.job_id)
        return jobs


@pytest.fixture
def there(cloud: Cloud, tmp_path: Path) -> Elsewhere:
    return Elsewhere(cloud, tmp_path)


def test_both_queues_are_counted(there: Elsewhere) -> None:
    """Visible and in flight, and the age of the oldest; counting takes nothing."""
    there.accept(3)
    there.cloud.queue.receive(most=1, wait_seconds=0, visibility_seconds=30)
    jobs, dead = there.json("queue", "stats")["queues"]
    assert (jobs["role"], jobs["visible"], jobs["in_flight"], jobs["delayed"]) == ("jobs", 2, 1, 0)
    assert 0 <= jobs["oldest_age_seconds"] < 60
    assert (dead["role"], dead["visible"], dead["oldest_age_seconds"]) == ("dead_letters", 0, None)


def test_a_peek_takes_nothing_and_shows_no_text(there: Elsewhere) -> None:
    """Oldest first, what workers hold too; afterwards all are as visible as before, received as often."""
    jobs = there.accept(3)
    for _ in range(2):
        seen = there.json("queue", "peek", "--limit", "2")
        assert [message["job_id"] for message in seen["messages"]] == jobs[:2]
        assert (seen["count"], seen["unseen"]) == (3, 0)
        assert {message["receive_count"] for message in seen["messages"]} == {0}
        assert "secret" not in json.dumps(seen)
    assert there.cloud.queue.stats().visible == 3


def test_a_purge_fails_the_jobs_that_wait(there: Elsewhere) -> None:
    """I1: each has a recorded end; what a worker holds stays. Without --yes and without a terminal nothing is done."""
    jobs = there.accept(4)
    refused = cli("queue", "purge", folder=there.folder, environment=there.environment)
    assert refused.returncode == 2
    there.cloud.queue.receive(most=1, wait_seconds=0, visibility_seconds=30)
    purged = there.json("queue", "purge", "--yes")
    assert (purged["deleted"], set(purged["failed_job_ids"]), purged["left"]) == (3, set(jobs[1:]), 1)
    for job_id in jobs[1:]:
        job = there.cloud.jobs.get(job_id, "alice")
        assert (job.status, (job.error or {})["code"]) == ("failed", "purged")


async def test_in_a_terminal_the_counts_are_watched(stack: RunningStack) -> None:
    """They are drawn again and again until Ctrl-C, exit 130; as JSON, which is one document, that is refused."""
    with terminal("queue", "stats", "--watch", folder=stack.folder) as screen:
        await screen.shows("cloudia-jobs.fifo", "VISIBLE")
        screen.type(CTRL_C)
        assert await screen.ends() == 130
    refused = stack.cli("queue", "stats", "--watch", "--json")
    assert refused.returncode == 2
