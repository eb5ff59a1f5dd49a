"""Workers that end, die, sleep through their lease, or lack what they stand on."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from cloudia import ids
from cloudia.client import Answer
from cloudia.cloud.events import START, EventLog
from cloudia.cloud.redis import connect
from cloudia.deploy.provision import destroy, provision, secret_values
from cloudia.protocol import Event
from tests.gateway.lines import own_redis
from tests.patience import HANGS
from tests.support import Cloud, RunningStack, eventually, make_cloud
from tests.worker.working import USER, accept, depth, ended, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path


async def test_sigterm_finishes_what_can_be_finished(cloud: Cloud, tmp_path: Path) -> None:
    """SIGTERM: the answer under way is finished and recorded, nothing is left in flight, exit status 0."""
    async with worker(cloud, tmp_path) as process:
        job = accept(cloud, "finish me [[words:60]]")
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), HANGS) == 0
    assert cloud.jobs.get(job.job_id, USER).status == "done"
    assert depth(cloud, cloud.stack.jobs_queue.name) == 0


async def test_sigterm_hands_back_what_cannot_be_finished(cloud: Cloud, tmp_path: Path) -> None:
    """SIGTERM with too little grace: the job is handed back at once, and another worker answers it."""
    async with worker(cloud, tmp_path, CLOUDIA_WORKER_GRACE_SECONDS="0.2") as process:
        job = accept(cloud, "too long for that [[words:400]]")
        follower = accept(cloud, "behind it [[words:5]]", conversation=job.conversation_id)
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), HANGS) == 0
    assert cloud.jobs.get(job.job_id, USER).status == "queued"
    async with worker(cloud, tmp_path):
        assert (await ended(cloud, job)).attempts == 1  # The drain cost none.
        assert (await ended(cloud, follower)).attempts == 1


async def test_i2_a_killed_workers_job_is_taken_over(stack: RunningStack, tmp_path: Path) -> None:
    """I1, I2: kill -9 in mid-answer; when visibility and lease run out another worker answers, once."""
    cloud = make_cloud(stack, worker_visibility_seconds=3, worker_lease_seconds=3)
    async with worker(cloud, tmp_path) as process:
        job = accept(cloud, "who takes over? [[words:300]]")
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        process.kill()
        await process.wait()
    async with worker(cloud, tmp_path):
        done = await ended(cloud, job)
        assert (done.status, done.attempts) == ("done", 2)
        await eventually(lambda: depth(cloud, cloud.stack.jobs_queue.name) == 0)
    assert len(cloud.history.messages(USER, job.conversation_id, limit=10).items) == 2


async def test_i2_a_zombie_cannot_write(stack: RunningStack, tmp_path: Path) -> None:
    """I2: a worker that was stopped until its lease was taken over, and wakes up, writes nothing and deletes nothing."""
    cloud = make_cloud(stack, worker_visibility_seconds=3, worker_lease_seconds=3)
    async with worker(cloud, tmp_path) as zombie:
        job = accept(cloud, "two of us? [[words:200]]")
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        zombie.send_signal(signal.SIGSTOP)
        try:
            async with worker(cloud, tmp_path):
                done = await ended(cloud, job)
                zombie.send_signal(signal.SIGCONT)
                # By its renewal, by its own clock, or when it writes: whichever comes first.
                noticed = ("lease lost", "lease ran out", "another worker has the job")
                await eventually(lambda: any(log_lines(tmp_path, event) for event in noticed))
        finally:
            zombie.send_signal(signal.SIGCONT)
    assert cloud.jobs.get(job.job_id, USER) == done
    assert done.attempts == 2


async def test_i8_without_redis_answers_are_recorded(stack: RunningStack, tmp_path: Path) -> None:
    """I8: with no Redis to reach, the worker answers and records all the same, and says so once."""
    cloud = make_cloud(stack, redis_url="redis://127.0.0.1:9/0")
    async with worker(cloud, tmp_path):
        jobs = [accept(cloud, f"no redis {number} [[words:30]]", session="ses_none") for number in range(3)]
        assert {(await ended(cloud, job)).status for job in jobs} == {"done"}
    assert len(log_lines(tmp_path, "event log is away; answers are recorded all the same")) == 1


async def test_a_worker_waits_for_its_queue(stack: RunningStack, tmp_path: Path) -> None:
    """Without the engine's resources the worker waits with back-off and says so once; then it works."""
    cloud = make_cloud(stack)
    list(destroy(cloud.aws, cloud.stack))
    async with worker(cloud, tmp_path):
        await eventually(lambda: log_lines(tmp_path, "queue is away"))
        await asyncio.sleep(1)  # several polls
        list(provision(cloud.aws, cloud.stack, secret_values(cloud.stack, cloud.settings, cloud.secrets)))
        job = accept(cloud, "at last [[words:5]]")
        assert (await ended(cloud, job)).status == "done"
    assert len(log_lines(tmp_path, "queue is away")) == 1


async def test_a_second_signal_hands_back_at_once(cloud: Cloud, tmp_path: Path) -> None:
    """A second SIGTERM does not wait for the grace time: the job goes back to the queue, and another worker answers it."""
    async with worker(cloud, tmp_path, CLOUDIA_WORKER_GRACE_SECONDS="60") as process:
        job = accept(cloud, "no time [[words:2000]]")
        await eventually(lambda: cloud.jobs.get(job.job_id, USER).status == "running")
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: log_lines(tmp_path, "finishing"))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), HANGS) == 0
    assert cloud.jobs.get(job.job_id, USER).status == "queued"
    assert depth(cloud, cloud.stack.jobs_queue.name) == 1


async def test_i8_with_redis_back_events_flow_again(stack: RunningStack, tmp_path: Path) -> None:
    """I8: Redis is away while an answer begins and back before it ends; the log then holds the whole answer."""
    async with own_redis(tmp_path) as redis:
        cloud = make_cloud(stack, redis_url=redis.url)
        async with worker(cloud, tmp_path):
            await eventually(lambda: log_lines(tmp_path, "worker ready"))
            redis.kill()
            job = accept(cloud, "are you back? [[words:120]]", session="ses_back")
            await eventually(lambda: log_lines(tmp_path, "event log is away; answers are recorded all the same"))
            await redis.start()
            assert (await ended(cloud, job)).status == "done"
            await eventually(lambda: log_lines(tmp_path, "event log is back"))
        answer = Answer(job.job_id)
        async with connect(redis.url) as connection:
            log = EventLog(connection, cloud.stack.name, ttl_seconds=60, max_length=1000)
            for entry in await log.after("ses_back", START):
                answer.apply(Event.decode(entry.payload))
    reply = cloud.history.message(job.conversation_id, ids.reply_id(job.message_id))
    assert reply
    assert (answer.status, answer.text) == ("done", reply.content)
