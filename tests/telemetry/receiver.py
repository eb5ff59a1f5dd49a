"""A receiver of OTLP over HTTP, on loopback: what comes is parsed by OpenTelemetry's own types."""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from tests.servers import Quiet, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["NEW_RELIC_KEY", "Receiver", "receiving", "told"]

NEW_RELIC_KEY = "a-license-key"
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


@dataclass
class Receiver:
    """What has come so far."""

    url: str = ""
    status: int = 200
    """What it answers."""
    spans: list[tuple[str, Span]] = field(default_factory=list)
    """Each with the name of its service."""
    resources: list[dict[str, object]] = field(default_factory=list)
    """Those that spans came of."""
    metrics: dict[str, Metric] = field(default_factory=dict)
    """By name, the last that came of each."""
    records: list[LogRecord] = field(default_factory=list)
    refused: list[tuple[str, int]] = field(default_factory=list)
    """Paths and statuses, where it has limits."""
    headers: list[dict[str, str]] = field(default_factory=list)

    def of_trace(self, trace_id: str) -> list[tuple[str, Span]]:
        """Return the spans of a trace, in the order of their beginnings."""
        own = [(service, span) for service, span in self.spans if span.trace_id.hex() == trace_id]
        return sorted(own, key=lambda each: each[1].start_time_unix_nano)

    def take(self, path: str, body: bytes) -> None:
        """Take a request. Raises where it is none."""
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(told(resource.resource.attributes))
                service = self.resources[-1]["service.name"]
                self.spans += [(str(service), span) for scope in resource.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            for metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics |= {metric.name: metric for scope in metrics.scope_metrics for metric in scope.metrics}
        elif path == "/v1/logs":
            for logs in ExportLogsServiceRequest.FromString(body).resource_logs:
                self.records += [record for scope in logs.scope_logs for record in scope.log_records]


def told(attributes: object) -> dict[str, object]:
    """Return attributes as a dictionary."""
    pairs: list[KeyValue] = list(attributes)  # type: ignore[call-overload]
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}


def breach(path: str, headers: Mapping[str, str], sent: bytes, body: bytes) -> int | None:
    """Return the status with which New Relic refuses a request, None where it takes it.

    https://docs.newrelic.com/docs/opentelemetry/best-practices/opentelemetry-otlp/
    """
    if headers.get("api-key") != NEW_RELIC_KEY:
        return 403
    if len(sent) > 1_000_000:
        return 413
    kinds: dict[str, Any] = {
        "/v1/traces": ExportTraceServiceRequest,
        "/v1/metrics": ExportMetricsServiceRequest,
        "/v1/logs": ExportLogsServiceRequest,
    }
    request = kinds[path].FromString(body)
    if any(len(text.encode()) > 4095 for text in _attribute_texts(request)):
        return 400
    if path == "/v1/metrics" and _CUMULATIVE in _temporalities(request):
        return 400
    return None


def _attribute_texts(message: Message) -> Iterator[str]:
    """Yield the texts of all attributes in a message, however deep."""
    for descriptor, value in message.ListFields():
        values = value if descriptor.is_repeated else [value]
        for each in values:
            if descriptor.name == "attributes":
                yield each.value.string_value
            elif isinstance(each, Message):
                yield from _attribute_texts(each)


def _temporalities(request: ExportMetricsServiceRequest) -> set[int]:
    """Return those of counters that only grow, and of histograms."""
    metrics = [metric for each in request.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
    sums = {metric.sum.aggregation_temporality for metric in metrics if metric.sum.is_monotonic}
    return sums | {metric.histogram.aggregation_temporality for metric in metrics if metric.HasField("histogram")}


@contextmanager
def receiving(*, as_new_relic: bool = False) -> Iterator[Receiver]:
    """Receive until the block ends; with the limits of New Relic, where it is to."""
    receiver = Receiver()

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = sent = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.headers.append(headers)
            refused = breach(self.path, headers, sent, body) if as_new_relic else None
            if refused:
                receiver.refused.append((self.path, refused))
            elif receiver.status == 200:
                receiver.take(self.path, body)
            self.send_response(refused or receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

    with serving(Handler) as receiver.url:
        yield receiver
