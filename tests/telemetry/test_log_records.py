"""Log lines by OTLP: what a line says, joined to its span, and no more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cloudia import telemetry
from tests.support import RunningStack, eventually, make_cloud
from tests.telemetry.receiver import receiving, told
from tests.worker.working import accept, ended, fault, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_line_is_sent_with_its_trace_and_its_span(stack: RunningStack, tmp_path: Path) -> None:
    """A record is the line: event, level and fields; its span is the attempt's, which is sent under the same id."""
    cloud = make_cloud(stack, llm_model="sim-logs")
    fault(stack, kind="cut", after_tokens=2, count=1, model="sim-logs")
    with receiving() as receiver:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_BLRP_SCHEDULE_DELAY": "50",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        async with worker(cloud, tmp_path, **variables):
            job = accept(cloud, "xyzzy [[words:5]]", session="ses_logs")
            await ended(cloud, job)
            await eventually(lambda: "job ended" in {record.event_name for record in receiver.records})
            await eventually(lambda: len([span for _, span in receiver.spans if span.name.startswith("process")]) == 2)
    records = {record.event_name: record for record in receiver.records}
    attempts = {
        told(span.attributes)["cloudia.attempt"]: span for _, span in receiver.spans if span.name.startswith("process")
    }
    for event, attempt in (("attempt failed", 1), ("job ended", 2)):
        (line,) = log_lines(tmp_path, event)
        record, span = records[event], attempts[attempt]
        assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
        assert (record.trace_id.hex(), record.span_id.hex()) == (line["trace_id"], line["span_id"])
        assert line["trace_id"] == telemetry.trace_id(job.traceparent)
        assert record.body.string_value == event
        assert record.severity_text == line["level"].upper()
        attributes = told(record.attributes)
        assert (attributes["job_id"], attributes["conversation_id"]) == (job.job_id, job.conversation_id)
        assert attributes["attempt"] == line["attempt"] == attempt
        assert set(attributes) == set(line) - {"time", "level", "event", "trace_id", "span_id"}
    assert json.loads(str(told(records["job ended"].attributes)["usage"]))["output_tokens"] > 0
    assert "xyzzy" not in repr(receiver.records)


async def test_i6_a_secret_is_in_no_record(stack: RunningStack, tmp_path: Path) -> None:
    """I6: a record is made of the line after its secrets are out; and nothing is sent of what cannot be sent."""
    cloud = make_cloud(stack, llm_model="sim-logs")
    with receiving() as receiver:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_BLRP_SCHEDULE_DELAY": "50",
            "SOME_API_KEY": "worker started",  # What the first line says.
        }
        async with worker(cloud, tmp_path, **variables):
            await eventually(lambda: "worker ready" in {record.event_name for record in receiver.records})
            receiver.status = 503
            await ended(cloud, accept(cloud, "[[words:5]]", session="ses_logs"))
    assert "worker started" not in repr(receiver.records)


async def test_a_line_bears_what_is_known(stack: RunningStack, tmp_path: Path) -> None:
    """Each line of an attempt has the job, conversation, attempt, trace and span, also without OpenTelemetry."""
    cloud = make_cloud(stack, llm_model="sim-ids")
    async with worker(cloud, tmp_path):
        fault(stack, kind="cut", after_tokens=2, count=1, model="sim-ids")
        job = accept(cloud, "[[words:5]]", session="ses_ids")
        await ended(cloud, job)
        await eventually(lambda: log_lines(tmp_path, "job ended"))
    (failed,), (done,) = log_lines(tmp_path, "attempt failed"), log_lines(tmp_path, "job ended")
    for line, attempt in ((failed, 1), (done, 2)):
        assert line["job_id"] == job.job_id
        assert line["conversation_id"] == job.conversation_id
        assert line["trace_id"] == telemetry.trace_id(job.traceparent)
        assert (line["attempt"], line["span_id"]) == (attempt, telemetry.attempt_span_id(job.job_id, attempt))
