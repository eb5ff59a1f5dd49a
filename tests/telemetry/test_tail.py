"""Sampling: what was not sampled leaves no span, unless it failed or was slow; the decision is one for all parts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cloudia import ids
from cloudia.telemetry import conventions as names
from cloudia.telemetry.events import AttemptFailed, AttemptIds, AttemptStopped, FrameDelivered, JobEnded
from cloudia.telemetry.tail import ends_attempt, is_kept, is_kept_delivery
from tests.support import Cloud, RunningStack, eventually, make_cloud
from tests.telemetry.receiver import Receiver, receiving, told
from tests.worker.working import accept, ended, fault, worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from cloudia.protocol import JobStatus

NOTHING = {
    "OTEL_TRACES_SAMPLER": "traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0",
    "OTEL_BSP_SCHEDULE_DELAY": "50",
    "OTEL_METRIC_EXPORT_INTERVAL": "200",
}


def job(attempt: int = 1) -> AttemptIds:
    """Return an attempt."""
    return AttemptIds(job_id="job_1", conversation_id="cnv_1", traceparent=None, attempt=attempt, fence=attempt)


def end(status: JobStatus = "done", *, attempt: int = 1, seconds: float = 1.0) -> JobEnded:
    """Return how a job ended."""
    facts: dict[str, Any] = {"began_at": 1.0, "first_text_at": None, "code": None, "usage": None, "llm_calls": 1}
    own = job(attempt)
    return JobEnded(job=own, at=seconds, accepted_at=0.0, status=status, provider="openai", model="m", **facts)


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (end(), False),
        (end("cancelled"), False),
        (end("failed"), True),
        (end("dead_lettered"), True),
        (end(attempt=2), True),
        (end(seconds=10.1), True),
        (AttemptStopped(job=job(), at=1.0, seconds=1.0, reason="lost"), True),
    ],
    ids=["done", "cancelled", "failed", "dead", "second", "slow", "lost"],
)
def test_what_failed_or_was_slow_is_kept(event: JobEnded | AttemptStopped, kept: bool) -> None:
    """Each of them is an attempt's last event, and says by itself whether its spans are kept."""
    assert ends_attempt(event)
    assert is_kept(event, 10.0) is kept


def test_a_failure_ends_its_attempt_where_another_follows() -> None:
    """Else the job's end is told next, and is the attempt's last."""
    facts: dict[str, Any] = {"at": 1.0, "seconds": 1.0, "code": "c", "reason": "r", "max_attempts": 5}
    assert ends_attempt(AttemptFailed(job=job(), decision="Retry", delay=2, **facts))
    assert not ends_attempt(AttemptFailed(job=job(), decision="GiveUp", delay=None, **facts))


@pytest.mark.parametrize(
    ("kind", "attempt", "seconds", "kept"),
    [("done", 1, 1.0, False), ("error", 1, 1.0, True), ("done", 2, 1.0, True), ("done", 1, 11.0, True)],
)
def test_a_delivery_is_kept_by_its_last_frame(kind: str, attempt: int, seconds: float, kept: bool) -> None:
    """A gateway knows the attempt, whether it is an error, and from the job's id when that was accepted."""
    accepted = f"job_{ids.new(at=1000.0)}"
    facts: dict[str, Any] = {"session_id": "ses_1", "connection_id": "con_1", "seconds": 0.1, "bytes": 1}
    last = FrameDelivered(job_id=accepted, attempt=attempt, kind=kind, event_id="1-0", at=1000.0 + seconds, **facts)
    assert is_kept_delivery(last, 10.0) is kept


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where this test's worker sends."""
    with receiving() as receiver:
        yield receiver


@asynccontextmanager
async def traced(cloud: Cloud, receiver: Receiver, tmp_path: Path, **variables: str) -> AsyncIterator[None]:
    """Run a worker that sends its spans, of those that are sampled."""
    async with worker(cloud, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **{**NOTHING, **variables}):
        yield


def jobs(receiver: Receiver) -> set[object]:
    """Return whose attempts have come."""
    return {told(span.attributes)[names.JOB] for _, span in receiver.spans if span.name.startswith("process ")}


async def test_an_ordinary_message_leaves_no_span_and_a_failed_one_its_own(
    stack: RunningStack, receiver: Receiver, tmp_path: Path
) -> None:
    """With a sampler that takes nothing the one that failed is whole, both of its attempts; both messages are counted."""
    cloud = make_cloud(stack, llm_model="sim-tail")
    async with traced(cloud, receiver, tmp_path):
        ordinary = accept(cloud, "[[words:5]]", session="ses_tail")
        await ended(cloud, ordinary)
        fault(stack, kind="cut", after_tokens=2, count=1, model="sim-tail")
        failed = accept(cloud, "[[words:5]]", session="ses_tail")
        await ended(cloud, failed)
        await eventually(lambda: len([span for _, span in receiver.spans if span.name.startswith("process ")]) == 2)
        await eventually(lambda: receiver.metrics["cloudia.jobs.ended"].sum.data_points[0].as_int == 2)
    assert jobs(receiver) == {failed.job_id}
    by_id = {span.span_id: span for _, span in receiver.spans}
    attempts = sorted(
        (span for span in by_id.values() if span.name.startswith("process ")),
        key=lambda span: span.start_time_unix_nano,
    )
    within = [[span.name for span in by_id.values() if span.parent_span_id == each.span_id] for each in attempts]
    assert [set(own) for own in within] == [
        {"lease", "read context", "chat sim-tail"},
        {"lease", "read context", "chat sim-tail", "record"},
    ]
    assert "queue" in {span.name for span in by_id.values()}


async def test_a_slow_message_is_kept(stack: RunningStack, receiver: Receiver, tmp_path: Path) -> None:
    """One that took longer than `telemetry.slow_seconds`, from its acceptance on."""
    cloud = make_cloud(stack, llm_model="sim-slow")
    async with traced(cloud, receiver, tmp_path, CLOUDIA_TELEMETRY_SLOW_SECONDS="0"):
        slow = accept(cloud, "[[words:5]]", session="ses_tail")
        await ended(cloud, slow)
        await eventually(lambda: jobs(receiver) == {slow.job_id})
