"""A worker whose own loop lags blames neither Redis nor its leases."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from cloudia.cloud.events import START, EventLog
from cloudia.cloud.jobs import Jobs, Lease
from cloudia.cloud.redis import connect
from cloudia.protocol import Event, Job, QueuedJob
from cloudia.worker.background.leases import Leases
from cloudia.worker.background.outbox import Outbox
from cloudia.worker.background.refusals import Refusals
from tests.support import RunningStack, eventually

if TYPE_CHECKING:
    import pytest

_LAG_SECONDS = 3.0


async def test_a_loop_that_was_blocked_in_mid_stream_sends_nothing_again(
    stack: RunningStack, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop stands still for 3 s while Redis answers: no `reset`, and nobody says that the event log is away."""
    session = f"ses_{secrets.token_hex(4)}"
    async with connect(stack.settings.redis_url) as redis:
        log = EventLog(redis, f"lag{secrets.token_hex(4)}", ttl_seconds=60, max_length=1000)
        outbox = Outbox(log, frame_seconds=0.05)
        running = asyncio.create_task(outbox.run())
        stream = outbox.open(
            QueuedJob("job", "cnv", "msg", "alice", "well?", time.time(), session_id=session), attempt=1, fence=1
        )
        stream.text("one ")
        await eventually(lambda: outbox._flushing, every=0)
        for _ in range(3):
            await asyncio.sleep(0)
        time.sleep(_LAG_SECONDS)  # noqa: ASYNC251 - this is the lag
        stream.text("two")
        stream.emit("done")
        await outbox.drain(10)
        events = [Event.decode(entry.payload) for entry in await log.after(session, START)]
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert "".join((event.data or {}).get("text", "") for event in events) == "one two"
    assert {event.type for event in events} == {"delta", "done"}
    assert not caplog.records


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
