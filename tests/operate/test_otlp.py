"""A waterfall as OTLP JSON, read by OpenTelemetry's own types."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from cloudia.operate.otlp import otlp
from cloudia.operate.waterfall import waterfall
from tests.operate.records import T, attempt, failed, job

TRACE = "0af7651916cd43dd8448eb211c80319c"


def parsed(document: dict[str, Any]) -> list[Span]:
    """Return the spans as OpenTelemetry's types have them. OTLP's JSON has ids in hex, where protobuf's has base64."""

    def in_base64(value: Any) -> Any:
        if isinstance(value, list):
            return [in_base64(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            name: base64.b64encode(bytes.fromhex(inner)).decode()
            if name in {"traceId", "spanId", "parentSpanId"}
            else in_base64(inner)
            for name, inner in value.items()
        }

    request = json_format.Parse(json.dumps(in_base64(document)), ExportTraceServiceRequest())
    (resource,) = request.resource_spans
    (scope,) = resource.scope_spans
    return list(scope.spans)


def test_one_trace_of_valid_spans() -> None:
    """All are of the request's trace; an attempt is a consumer, the LLM a client within it; a failed one is an error."""
    record = job(
        "done",
        failed(1, 0.1, 0.4, delay=2, usage={"input_tokens": 3, "cost_usd": 0.5}),
        attempt(2, 2.5, 6.8, first=3, outcome="done", finish="stop", usage={"input_tokens": 5.0, "output_tokens": 7.0}),
        ended=6.8,
        trace_id=TRACE,
    )
    spans = parsed(otlp(waterfall(record, now=T + 9), queue="jobs.fifo", stack="mine"))
    assert [span.name for span in spans] == [
        "message", "queue", "process jobs.fifo", "chat sim-1", "back off", "queue", "process jobs.fifo", "chat sim-1",
    ]  # fmt: skip
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert len({span.span_id for span in spans}) == len(spans)
    root, _, first, call, *_, last, answer = spans
    assert not root.parent_span_id
    assert (first.parent_span_id, call.parent_span_id) == (root.span_id, first.span_id)
    assert (first.kind, call.kind) == (Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_CLIENT)
    assert (first.status.code, last.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert (root.end_time_unix_nano - root.start_time_unix_nano) == 6_800_000_000
    told = {each.key: each.value for each in answer.attributes}
    assert told["gen_ai.usage.output_tokens"].int_value == 7
    assert told["gen_ai.response.time_to_first_chunk"].double_value == 0.5
    assert next(iter(told["gen_ai.response.finish_reasons"].array_value.values)).string_value == "stop"
    assert {each.key: each.value.string_value for each in first.attributes}["error.type"] == "llm_failed"


def test_what_goes_on_has_no_span_and_the_others_keep_their_ids() -> None:
    """So a message that is exported while it is answered, and once more after, is one trace."""
    failure = failed(1, 0.1, 0.4, delay=2)
    before = parsed(otlp(waterfall(job("running", failure, attempt(2, 3)), now=T + 9), queue="q", stack="s"))
    record = job("done", failure, attempt(2, 3, 10, first=4, outcome="done"), ended=10)
    after = parsed(otlp(waterfall(record, now=T + 99), queue="q", stack="s"))
    assert [span.name for span in before] == ["message", "queue", "process q", "chat sim-1", "back off", "queue"]
    assert [span.span_id for span in after][: len(before)] == [span.span_id for span in before]
