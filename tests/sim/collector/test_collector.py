"""The collector against OpenTelemetry's own SDKs and types: what it takes, what it answers, and what it refuses."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link

from cloudia.sim.collector.decoding import MAX_BYTES
from tests.sim.collector.running import TOKEN, request_of, span
from tests.support import clean_environment

if TYPE_CHECKING:
    from tests.sim.collector.running import Running

BEARER = {"authorization": f"Bearer {TOKEN}"}


def new_trace() -> str:
    return uuid.uuid4().hex


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_what_the_python_sdk_sends(collector: Running, compression: Compression) -> None:
    """Its spans come back as OTLP JSON: ids in hex, names, parents, links, attributes, and who sent them."""
    exporter = OTLPSpanExporter(f"{collector.url}/v1/traces", headers=BEARER, compression=compression)
    provider = TracerProvider(resource=Resource.create({"service.name": "mine"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("my.scope", "1.2")
    with tracer.start_as_current_span("outer", attributes={"answer": 42, "flag": True}) as outer:
        context = outer.get_span_context()
        with tracer.start_as_current_span("inner", links=[Link(context)]) as inner:
            inner.add_event("half way")
    provider.shutdown()
    trace_id = f"{context.trace_id:032x}"
    document = collector.http.get(f"/traces/{trace_id}").json()
    (resource,) = document["resourceSpans"]
    assert {"key": "service.name", "value": {"stringValue": "mine"}} in resource["resource"]["attributes"]
    (scope,) = resource["scopeSpans"]
    assert scope["scope"] == {"name": "my.scope", "version": "1.2"}
    spans = {each["name"]: each for each in scope["spans"]}
    assert {each["traceId"] for each in spans.values()} == {trace_id}
    assert spans["inner"]["parentSpanId"] == spans["outer"]["spanId"] == f"{context.span_id:016x}"
    assert spans["inner"]["links"][0]["spanId"] == spans["outer"]["spanId"]
    assert {"key": "answer", "value": {"intValue": "42"}} in spans["outer"]["attributes"]
    assert int(spans["outer"]["endTimeUnixNano"]) > int(spans["outer"]["startTimeUnixNano"])


def test_metrics_of_the_python_sdk_are_taken(collector: Running) -> None:
    """They are answered as a success."""
    exporter = OTLPMetricExporter(f"{collector.url}/v1/metrics", headers=BEARER)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], shutdown_on_exit=False)
    provider.get_meter("mine").create_counter("things").add(1)
    assert provider.force_flush()
    provider.shutdown()


_JS = """
const { NodeTracerProvider, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-node');
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-' + process.argv[2]);
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter())] });
const span = provider.getTracer('js').startSpan('from node', { attributes: { list: ['a', 'b'], part: 0.5 } });
const id = span.spanContext().traceId;
span.end();
provider.shutdown().then(() => console.log(id));
"""


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["http", "proto"])
def test_what_opentelemetry_for_javascript_sends(
    collector: Running, tmp_path_factory: pytest.TempPathFactory, encoding: str
) -> None:
    """By the variables that `cloudia env` prints; JSON as well as protobuf."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    folder = Path(os.environ.get("CLOUDIA_TEST_NODE", "") or tmp_path_factory.mktemp("node"))
    if not (folder / "node_modules").exists():
        packages = ("sdk-trace-node", "exporter-trace-otlp-http", "exporter-trace-otlp-proto")
        wanted = [f"@opentelemetry/{name}" for name in packages]
        got = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *wanted],
            capture_output=True, text=True, check=False, cwd=folder,
        )  # fmt: skip
        if got.returncode:
            pytest.skip("npm cannot install OpenTelemetry's packages")
    script = folder / "send.js"
    script.write_text(_JS)
    environment = clean_environment(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_HEADERS=collector.headers()
    )
    sent = subprocess.run(
        ["node", str(script), encoding], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert sent.returncode == 0, sent.stderr
    assert collector.names(sent.stdout.strip()) == ["from node"]


def test_json_and_protobuf_are_answered_alike(collector: Running) -> None:
    """The encoding of an answer is that of its request; fields that are not known are passed over."""
    trace_id = new_trace()
    told = {"traceId": trace_id.upper(), "spanId": "00000000000000aa", "name": "by hand", "later": {"field": 1}}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [{**told, "kind": 2, "startTimeUnixNano": "5"}]}]}]}
    answer = collector.post(json.dumps(body).encode(), content_type="application/json; charset=utf-8")
    assert (answer.status_code, answer.json()) == (200, {})
    assert collector.names(trace_id) == ["by hand"]
    answer = collector.post(request_of("more", trace_id=trace_id), content_type="application/x-protobuf")
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()
    for signal in ("metrics", "logs"):
        assert collector.post(b"", signal).status_code == 200


def test_a_span_that_comes_twice_is_kept_once(collector: Running) -> None:
    """As when an exporter did not hear the first answer."""
    trace_id = new_trace()
    for _ in range(2):
        assert collector.post(request_of("once", trace_id=trace_id)).status_code == 200
    assert collector.names(trace_id) == ["once"]


def test_spans_that_cannot_be_kept_are_a_partial_success(collector: Running) -> None:
    """Broken ids, thousands of attributes, a span that is too large: the others are kept, and the answer counts them."""
    trace_id = new_trace()
    request = ExportTraceServiceRequest()
    span(request, "good", 1, trace_id)
    span(request, "no id", 2, trace_id).span_id = b"short"
    span(request, "no trace", 3, "0" * 32)
    span(request, "no parent", 4, trace_id).parent_span_id = b"xyz"
    for number in range(5000):
        request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key=f"key {number}")
    wide, large = span(request, "wide", 5, trace_id), span(request, "large", 6, trace_id)
    wide.attributes.MergeFrom(request.resource_spans[0].scope_spans[0].spans[0].attributes)
    del request.resource_spans[0].scope_spans[0].spans[0].attributes[:]
    large.attributes.add(key="text").value.string_value = "x" * 70_000
    answer = collector.post(request.SerializeToString())
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_spans == 5
    assert partial.error_message
    assert collector.names(trace_id) == ["good"]
    only = ExportTraceServiceRequest()
    span(only, "bad").span_id = b""
    assert collector.post(only.SerializeToString()).status_code == 400


_BOMB = gzip.compress(b"\0" * (MAX_BYTES + 1), mtime=0)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xfegarbage", {}, 400),
        (b'{"resourceSpans": 3}', {"content_type": "application/json"}, 400),
        (b"[" * 100_000, {"content_type": "application/json"}, 400),
        (b'{"resourceSpans":' * 500 + b"1" + b"}" * 500, {"content_type": "application/json"}, 400),
        (b"[]", {"content_type": "application/json"}, 400),
        (b"3", {"content_type": "application/json"}, 400),
        (
            b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}',
            {"content_type": "application/json"},
            400,
        ),
        (b"\xff", {"content_type": "application/json"}, 400),
        (b"hello", {"content_type": "text/plain"}, 415),
        (b"hello", {"content_encoding": "br"}, 415),
        (b"no gzip", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"", mtime=0)[:-4], {"content_encoding": "gzip"}, 400),
        (_BOMB, {"content_encoding": "gzip"}, 413),
        (b"x" * (MAX_BYTES + 1), {}, 413),
    ],
)
def test_bad_input_is_refused(collector: Running, body: bytes, headers: dict[str, str], status: int) -> None:
    """A `google.rpc.Status` in the encoding of the request, which quotes nothing; what comes next is taken."""
    answer = collector.post(body, **headers)
    assert answer.status_code == status
    if "json" in headers.get("content_type", ""):
        assert answer.json()["message"]
    else:
        assert Status.FromString(answer.content).message
    assert collector.post(request_of("next", trace_id=new_trace())).status_code == 200


def test_trouble_is_told_once(collector: Running) -> None:
    """However often it comes, a kind of it is one line of the log."""
    for _ in range(5):
        assert collector.post(b"once", content_encoding="zstd").status_code == 415
    assert collector.log.read_text().count("Content-Encoding is neither") == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer another"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"host": "evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec-fetch-site": "same-origin"}, 403),
    ],
)
def test_loopback_is_no_identity(collector: Running, headers: dict[str, str], status: int) -> None:
    """Without the token, from a page, or by a foreign name nothing is taken, and nothing is read."""
    trace_id = new_trace()
    named = {name.replace("-", "_"): value for name, value in headers.items()}
    assert collector.post(request_of("foreign", trace_id=trace_id), **named).status_code == status
    assert collector.http.get(f"/traces/{trace_id}", headers=headers).status_code == status
    assert collector.names(trace_id) == []


@pytest.mark.parametrize("trace_id", ["x", "0" * 32, "A" * 32, "..%2f..%2fsecrets", "a" * 33])
def test_what_is_no_trace_is_not_looked_for(collector: Running, trace_id: str) -> None:
    """400 or 404 as JSON, one sentence and what to do."""
    assert collector.http.get(f"/traces/{trace_id}").status_code in {400, 404}


def test_a_client_that_says_nothing_holds_nobody_up(collector: Running) -> None:
    """Other paths and methods are no failure of the collector's."""
    assert collector.http.get("/v1/traces").status_code == 405
    assert collector.http.post("/v1/profiles").status_code == 404
    assert httpx2.get(f"{collector.url}/health", trust_env=False).json() == {"status": "ok"}
