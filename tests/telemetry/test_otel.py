"""Spans and metrics by OTLP: one message is one trace, over the function, the queue and the worker."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from cloudia.telemetry import conventions as names
from tests.cli.provider import fault, quick
from tests.patience import HANGS
from tests.support import Cloud, RunningStack, clean_environment, eventually, start_stack, stop_stack
from tests.telemetry.receiver import Receiver, receiving, told
from tests.worker.working import accept, ended, log_lines, worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUESTION = "what-was-asked"
QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "200"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Where the stack of this module sends."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that sends its spans and metrics."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=abc", **QUICKLY}
    stack = start_stack(tmp_path_factory.mktemp("traced"), **variables)
    try:
        yield stack
    finally:
        stop_stack(stack)


async def trace_of(receiver: Receiver, job_id: str) -> list[tuple[str, Span]]:
    """Return the spans of a job's trace once its last attempt and its delivery are among them."""

    def ids() -> set[str]:
        return {
            span.trace_id.hex() for _, span in receiver.spans if told(span.attributes).get("cloudia.job.id") == job_id
        }

    def ended() -> bool:
        return any(
            names.DELIVER in {span.name for _, span in receiver.of_trace(trace_id)}
            and any(told(span.attributes).get(names.OUTCOME) == "done" for _, span in receiver.of_trace(trace_id))
            for trace_id in ids()
        )

    await eventually(ended)
    (trace_id,) = ids()
    return receiver.of_trace(trace_id)


async def test_a_message_that_failed_once_is_one_trace(receiver: Receiver, traced: RunningStack) -> None:
    """Each attempt is a consumer whose parent and link is the request; within it are its calls of the LLM and its record."""
    with quick(traced.run), fault(traced.run, "status", status=500, count=2):
        sent = traced.json("send", QUESTION)
    spans = await trace_of(receiver, sent["job_id"])
    by_name: dict[str, list[Span]] = {}
    for _, span in spans:
        by_name.setdefault(span.name, []).append(span)
    queue = "cloudia-jobs.fifo"
    (post,), attempts = by_name["POST /messages"], by_name[f"process {queue}"]
    assert {service for service, _ in spans} == {"cloudia-api", "cloudia-worker", "cloudia-gateway"}
    (delivery,) = by_name["deliver"]
    assert delivery.parent_span_id == post.span_id
    assert int(str(told(delivery.attributes)[names.FRAMES])) >= 4  # started, reset, a delta, done
    assert post.kind == Span.SPAN_KIND_SERVER
    assert by_name[f"send {queue}"][0].kind == Span.SPAN_KIND_PRODUCER
    assert by_name[f"send {queue}"][0].parent_span_id == post.span_id
    assert by_name["queue"][0].parent_span_id == post.span_id
    assert [told(span.attributes)["cloudia.attempt"] for span in attempts] == [1, 2]
    for span in attempts:
        assert span.kind == Span.SPAN_KIND_CONSUMER
        assert span.parent_span_id == span.links[0].span_id == post.span_id
    first, last = attempts
    assert (first.status.code, told(first.attributes)["error.type"]) == (Status.STATUS_CODE_ERROR, "llm_failed")
    assert told(first.attributes)["cloudia.back_off.seconds"] >= 2  # type: ignore[operator]
    assert last.status.code == Status.STATUS_CODE_UNSET
    assert [event.name for event in last.events] == ["first text"]
    *failed, answered = by_name["chat sim-1"]
    assert [span.parent_span_id for span in failed] == [first.span_id] * 2
    assert answered.parent_span_id == by_name["record"][0].parent_span_id == last.span_id
    asked = told(answered.attributes)
    assert (asked["gen_ai.operation.name"], asked["gen_ai.provider.name"]) == ("chat", "openai")
    assert asked["gen_ai.usage.output_tokens"] == sent["usage"]["output_tokens"]
    assert answered.start_time_unix_nano <= answered.end_time_unix_nano


async def test_i6_no_text_is_sent_and_the_headers_are_the_users(receiver: Receiver, traced: RunningStack) -> None:
    """Neither the question nor the answer is in a span or a metric; what the variables say goes along."""
    with quick(traced.run):
        sent = traced.json("send", QUESTION)
    await trace_of(receiver, sent["job_id"])
    everything = repr(receiver.spans) + repr(receiver.metrics)
    assert QUESTION not in everything
    assert sent["reply"][:40] not in everything
    assert all(headers["api-key"] == "abc" for headers in receiver.headers)


async def test_metrics_bear_no_id(receiver: Receiver, traced: RunningStack) -> None:
    """Jobs, waits, calls and tokens are counted; no label is an id of a job, a user or a conversation."""
    with quick(traced.run):
        traced.json("send", "hello")
    wanted = {"cloudia.jobs.accepted", "cloudia.jobs.ended", "cloudia.queue.wait", "gen_ai.client.token.usage"}
    await eventually(lambda: wanted <= receiver.metrics.keys())
    for metric in receiver.metrics.values():
        data = getattr(metric, str(metric.WhichOneof("data")))
        for point in data.data_points:
            assert not any(
                str(value).startswith(("job_", "cnv_", "local")) for value in told(point.attributes).values()
            )


async def test_a_collector_that_fails_harms_nothing(receiver: Receiver, traced: RunningStack) -> None:
    """It is told what is lost; answers come as ever."""
    receiver.status = 503
    try:
        with quick(traced.run):
            assert traced.json("send", "hello")["status"] == "done"
    finally:
        receiver.status = 200


def test_nothing_is_imported_where_it_is_off() -> None:
    """Neither the worker nor the gateway nor a function loads what sends, unless an endpoint is named.

    The providers' SDKs load OpenTelemetry's API by themselves, where it is installed.
    """
    code = (
        "import sys, cloudia.worker.worker, cloudia.worker.services, cloudia.gateway.gateway, cloudia.functions.post_message\n"
        "from cloudia import telemetry\n"
        "telemetry.start_listening('worker', listener='', stack='s', queue='q', slow_seconds=10)\n"
        "print([name for name in sys.modules if 'exporter' in name or 'prometheus' in name or name.endswith('.otel')])\n"
        "print(telemetry.listening())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "False"]


@pytest.mark.parametrize("how", ["away", "full"])
async def test_what_was_lost_is_counted(cloud: Cloud, tmp_path: Path, how: str) -> None:
    """I7: a collector that is away or full keeps no job and no exit; the log says at the end how many spans did not arrive."""
    with receiving() as receiver:
        receiver.status = 503
        url = receiver.url if how == "full" else "http://127.0.0.1:9"
        async with worker(cloud, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url) as process:
            await ended(cloud, accept(cloud, "[[words:5]]", session="ses_lost"))
            await eventually(lambda: log_lines(tmp_path, "job ended"))
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), HANGS) == 0
    (line,) = log_lines(tmp_path, "spans were lost")
    assert line["count"] == line["of"] == 6
