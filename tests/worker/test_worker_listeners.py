"""What a listener is told by a worker, and that it harms no job."""

from __future__ import annotations

import asyncio
import signal
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.telemetry import trace_id
from tests.patience import HANGS
from tests.support import Cloud, RunningStack, eventually, make_cloud
from tests.told import told_in
from tests.worker.working import accept, ended, fault, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Return what happened, in order; what happened several times in a row is there once."""
    return [kind for kind, _ in groupby(event["event"] for event in events)]


async def test_a_message_that_failed_once_is_told_step_by_step(stack: RunningStack, tmp_path: Path) -> None:
    """Each step of both attempts in its order, with ids, times and counts; no word of question or answer."""
    cloud = make_cloud(stack, llm_model="sim-told")
    fault(stack, kind="cut", after_tokens=8, count=1, model="sim-told")
    file = tmp_path / "told.jsonl"
    async with worker(cloud, tmp_path, CLOUDIA_TELEMETRY_LISTENER="tests.told:told", TOLD=str(file)) as process:
        job = accept(cloud, "xyzzy [[words:20]]", session="ses_told")
        done = await ended(cloud, job)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), HANGS) == 0
    events = told_in(file)
    steps = [kind for kind in kinds(events) if kind != "FramePushed"]
    attempt = ["MessageReceived", "JobLeased", "ContextRead", "FirstText", "ProviderCalled"]
    assert steps == [*attempt, "AttemptFailed", *attempt, "AnswerRecorded", "JobEnded"]
    ours = [event for event in events if "job" in event]
    assert {event["job"]["job_id"] for event in ours} == {job.job_id}
    assert {trace_id(event["job"]["traceparent"]) for event in ours} == {trace_id(job.traceparent)}
    assert sorted({(event["job"]["attempt"], event["job"]["fence"]) for event in ours}) == [(1, 1), (2, 2)]
    assert all(event["at"] > 1e9 and event.get("seconds", 0) >= 0 for event in events)

    broken, whole = [event for event in events if event["event"] == "ProviderCalled"]
    assert (broken["error"], whole["error"], whole["number"]) == ("unavailable", None, 1)
    assert whole["output_tokens"] == done.usage["output_tokens"]
    assert 0 < whole["first_piece_seconds"] <= whole["seconds"]
    (failed,) = [event for event in events if event["event"] == "AttemptFailed"]
    assert (failed["code"], failed["decision"], failed["delay"] in {2, 3}) == ("llm_failed", "Retry", True)
    frames = [event for event in events if event["event"] == "FramePushed"]
    assert [frames[0]["kind"], frames[-1]["kind"]] == ["started", "done"]
    assert all(frame["event_id"] and frame["refused"] is None for frame in frames)
    text = file.read_text()
    assert "xyzzy" not in text
    assert "simulated" not in text

    first, second = done.attempt_history
    assert (first.attempt, first.outcome, first.code, first.delay) == (1, "retried", "llm_failed", failed["delay"])
    assert (second.attempt, second.outcome, second.llm_calls) == (2, "done", 1)
    assert first.began_at < first.first_text_at < first.ended_at < second.began_at < second.first_text_at
    assert second.usage == done.usage


@pytest.mark.parametrize("listener", ["fails", "sleeps"])
async def test_a_listener_that_raises_or_hangs_harms_no_job(cloud: Cloud, tmp_path: Path, listener: str) -> None:
    """Jobs are answered all the same, the log says once what is wrong, and the worker ends when it is asked to."""
    file = tmp_path / "told.jsonl"
    variables = {"CLOUDIA_TELEMETRY_LISTENER": f"tests.told:{listener}", "TOLD": str(file)}
    async with worker(cloud, tmp_path, **variables) as process:
        for _ in range(2):
            job = accept(cloud, "well? [[words:5]]", session="ses_harm")
            assert (await ended(cloud, job)).status == "done"
        await eventually(lambda: told_in(file))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), HANGS) == 0
    (missed,) = log_lines(tmp_path, "the listener missed events")
    failures = log_lines(tmp_path, "the listener failed")
    if listener == "fails":
        assert missed["failed"] >= len(told_in(file)) > 5
        assert failures[0]["exception"].startswith("RuntimeError at ")
    else:
        assert missed["untold"] > 5
    assert len(failures) == (listener == "fails")
    assert len(log_lines(tmp_path, "job ended")) == 2


async def test_a_listener_that_cannot_be_loaded_ends_the_worker(cloud: Cloud, tmp_path: Path) -> None:
    """It says so in one line, as it does of a responder."""
    async with worker(cloud, tmp_path, CLOUDIA_TELEMETRY_LISTENER="nowhere:told") as process:
        assert await asyncio.wait_for(process.wait(), HANGS) == 1
    (line,) = log_lines(tmp_path, "worker failed")
    assert line["code"] == "bad_listener"
