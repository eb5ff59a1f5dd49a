"""Samples of a stack that is known by its name alone: from presence, queues and records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cloud.job_records import Lease, Reopened
from cloudia.cloud.presence import Presence
from cloudia.deploy.provision import destroy
from cloudia.operate.sampler import StackSampler
from tests.support import Cloud

if TYPE_CHECKING:
    from cloudia.protocol import JobStatus, QueuedJob

FAILURE = {"code": "llm_failed", "message": "The LLM did not answer.", "hint": "503", "retryable": True}


@pytest.fixture
def sampler(cloud: Cloud) -> StackSampler:
    """What looks at a cloud without a worker."""
    return StackSampler(cloud)


def leased(cloud: Cloud, job: QueuedJob) -> Lease:
    """Take a job as a worker does."""
    lease = cloud.jobs.lease(job.job_id, "wrk_1", 60)
    assert isinstance(lease, Lease)
    return lease


def end(cloud: Cloud, status: JobStatus = "done", job: QueuedJob | None = None, **effort: Any) -> QueuedJob:
    """Accept a job and end it."""
    job = job or cloud.accept()
    cloud.jobs.finish(leased(cloud, job), status, content="", **effort)
    return job


def test_a_sample_is_who_is_alive_and_what_the_queues_hold(cloud: Cloud, sampler: StackSampler) -> None:
    """Workers with their routes, counts of both queues; parts are the business of whoever started them."""
    assert sampler.sample().state == "without a worker"
    Presence(cloud.aws.dynamodb, cloud.stack).beat("worker", "wrk_1", pid=7, routes=[{"breaker": "closed"}])
    cloud.queue.send(cloud.accept())
    cloud.dead_letters.send_raw("x", group="g", deduplication_id="d")
    sample = sampler.sample()
    assert (sample.state, sample.parts) == ("ready", ())
    assert (sample.visible, sample.in_flight, sample.dead_letters) == (1, 0, 1)
    assert sample.health is not None
    assert [worker["id"] for worker in sample.health["workers"]] == ["wrk_1"]


def test_each_job_that_ended_is_in_one_sample(cloud: Cloud, sampler: StackSampler) -> None:
    """The first sample has those that ended before; the next ones what is new, whatever the end; open jobs are in none."""
    before = end(cloud)
    cloud.accept()
    leased(cloud, cloud.accept())
    assert [job.job_id for job in sampler.sample().jobs] == [before.job_id]
    ends: list[JobStatus] = ["done", "failed", "cancelled", "dead_lettered"]
    after = [end(cloud, status) for status in ends]
    found = sampler.sample().jobs
    assert [(job.job_id, job.status) for job in found] == [
        (job.job_id, status) for job, status in zip(after, ends, strict=True)
    ]
    assert sampler.sample().jobs == ()


def test_a_job_that_ends_again_is_seen_again(cloud: Cloud, sampler: StackSampler) -> None:
    """A redriven job is one more end."""
    job = end(cloud, "dead_lettered")
    assert [seen.status for seen in sampler.sample().jobs] == ["dead_lettered"]
    assert isinstance(cloud.jobs.reopen(job, letter="letter"), Reopened)
    assert sampler.sample().jobs == ()
    end(cloud, "done", job)
    assert [(seen.job_id, seen.status) for seen in sampler.sample().jobs] == [(job.job_id, "done")]


def test_the_times_of_a_job_are_those_of_its_record(cloud: Cloud, sampler: StackSampler) -> None:
    """How long it waited for its last attempt, its first token from there, all of it, its tokens, and who ended it."""
    job = cloud.accept()
    lease = leased(cloud, job)
    began = lease.job.attempt_history[-1].began_at
    usage: dict[str, float] = {"input_tokens": 3, "output_tokens": 4}
    cloud.jobs.finish(lease, "done", content="", first_text_at=began + 0.25, usage=usage)
    (ended,) = sampler.sample().jobs
    assert (ended.attempt, ended.first_token_ms, ended.tokens, ended.worker) == (1, 250, 4, "wrk_1")
    assert ended.waited_ms is not None
    assert 0 <= ended.waited_ms <= ended.total_ms
    silent = end(cloud, "failed")
    (ended,) = sampler.sample().jobs
    assert (ended.job_id, ended.first_token_ms, ended.tokens) == (silent.job_id, None, None)


def test_a_trace_is_the_waterfall_of_the_record(cloud: Cloud, sampler: StackSampler) -> None:
    """Each wait and each attempt, with its reason and the routes that it passed over."""
    job = cloud.accept()
    cloud.jobs.release(leased(cloud, job), error=FAILURE, delay=2, switches=["openai m: quota", "groq n: paused"])
    end(cloud, job=job)
    head, *lines = sampler.trace(job.job_id)
    assert head.startswith("done after ")
    assert [line[:16].strip() for line in lines if not line.startswith("    ")] == [
        "queue", "attempt 1", "back-off 2 s", "queue", "attempt 2",
    ]  # fmt: skip
    assert [line.strip() for line in lines if line.startswith("    ")] == [
        "retried  llm_failed: 503", "passed over openai m: quota", "passed over groq n: paused",
    ]  # fmt: skip
    assert sampler.trace("job_unknown") == []


def test_what_is_not_there_is_said(cloud: Cloud, sampler: StackSampler) -> None:
    """Without its tables and queues a stack is not provisioned: a sample says so and has nothing else."""
    list(destroy(cloud.aws, cloud.stack))
    sample = sampler.sample()
    assert (sample.state, sample.visible, sample.dead_letters, sample.jobs) == ("not provisioned", None, None, ())
