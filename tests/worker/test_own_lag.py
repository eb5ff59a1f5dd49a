"""A worker whose own loop lags blames neither Redis nor its leases."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress

from cloudia.cloud.events import START, EventLog, Frame
from cloudia.cloud.job_records import Lease
from cloudia.cloud.jobs import Jobs
from cloudia.cloud.redis import connect
from cloudia.protocol import Event, Job
from cloudia.worker.background.leases import Leases
from cloudia.worker.background.refusals import Refusals
from tests.support import RunningStack, eventually

_LAG_SECONDS = 0.15


async def test_a_reply_of_redis_that_came_while_the_loop_was_blocked_is_taken(stack: RunningStack) -> None:
    """The loop stands still for longer than a reply may take, wherever the call is by then: no event log is away."""
    session = f"ses_{secrets.token_hex(4)}"
    async with connect(stack.settings.redis_url, timeout=0.1) as redis:
        log = EventLog(redis, f"lag{secrets.token_hex(4)}", ttl_seconds=60, max_length=1000)
        assert await log.after(session, START) == []  # The connection is made before the lag.
        for steps in range(12):
            frame = Frame(session, 1, Event("delta", "job", "cnv", 1, {"text": str(steps)}))
            sending = asyncio.create_task(log.append([frame] * 3))
            for _ in range(steps):
                await asyncio.sleep(0)
            for _ in range(4):
                time.sleep(_LAG_SECONDS)  # noqa: ASYNC251 - this is the lag
                await asyncio.sleep(0)
            assert all(appended.id for appended in await sending)


async def test_a_loop_that_was_blocked_past_a_lease_renews_it_before_it_gives_it_up() -> None:
    """The lease may still be ours: the renewal says so, and only where it fails the attempt ends."""
    renewed, lost = [], []

    class Records(Jobs):
        def __init__(self) -> None:
            pass

        def renew(self, lease: Lease, seconds: float) -> None:
            renewed.append((lease.fence, seconds))

    leases = Leases(Records(), Refusals(), seconds=0.6)
    running = asyncio.create_task(leases.run())
    job = Job("job", "cnv", "msg", "alice", "running", "2026-01-01T00:00:00Z")
    leases.hold(Lease(job, "wrk", 1, time.time() + 0.6), lambda: lost.append(job))
    await asyncio.sleep(0.05)
    time.sleep(1)  # noqa: ASYNC251 - this is the lag
    await eventually(lambda: renewed)
    await asyncio.sleep(0.1)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert lost == []
