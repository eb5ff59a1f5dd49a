"""OTLP decoded: a body of protobuf or JSON becomes OpenTelemetry's own types, and its spans what the store keeps. No I/O.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: JSON has ids in hex where protobuf's own JSON has base64.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from google.protobuf.json_format import Error as FormatError
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from cloudia.sim.collector.refusal import Refusal

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["MAX_BYTES", "SIGNALS", "KeptSpan", "Request", "decode", "encode", "spans_of", "taken", "unpack"]

MAX_BYTES = 4 * 2**20
"""Of a body, packed or not: what gRPC takes of a message where nobody says otherwise."""
_MAX_SPAN_BYTES = 65_536
_MAX_ATTRIBUTES = 1000
"""Of a span with its events and links, or of what sends it. OpenTelemetry's SDKs send 128 of each at most."""
_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_IDS = frozenset({"traceId", "spanId", "parentSpanId"})
_GZIP = 31
"""zlib's word for gzip."""

Request: TypeAlias = ExportTraceServiceRequest | ExportMetricsServiceRequest | ExportLogsServiceRequest
_Response: TypeAlias = ExportTraceServiceResponse | ExportMetricsServiceResponse | ExportLogsServiceResponse

SIGNALS: dict[str, tuple[type[Request], type[_Response]]] = {
    "traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
    "metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
    "logs": (ExportLogsServiceRequest, ExportLogsServiceResponse),
}
"""What `/v1/{signal}` takes and answers."""


@dataclass(frozen=True, slots=True)
class KeptSpan:
    """A span as the store keeps it."""

    trace_id: str
    """In hex, as `span_id`."""
    span_id: str
    source: str
    """JSON of what it is from: `{"resource", "scope"}`."""
    document: str
    """OTLP's JSON of it."""


def unpack(body: bytes, encoding: str) -> bytes:
    """Return a body without its `Content-Encoding`; one that unpacks to more than `MAX_BYTES` is not unpacked any further."""
    if encoding in {"", "identity"}:
        return body
    if encoding != "gzip":
        raise Refusal(415, "the body's Content-Encoding is neither gzip nor identity")
    packed = zlib.decompressobj(_GZIP)
    try:
        whole = packed.decompress(body, MAX_BYTES + 1)
    except zlib.error:
        raise Refusal(400, "the body is no gzip") from None
    if len(whole) > MAX_BYTES:
        raise Refusal(413, f"the body unpacks to more than {MAX_BYTES} bytes")
    if not packed.eof or packed.unused_data:
        raise Refusal(400, "the body is no whole gzip")
    return whole


def decode(signal: str, body: bytes, *, is_json: bool) -> Request:
    """Return what a body says. `Refusal` where it is none of this signal."""
    request = SIGNALS[signal][0]()
    try:
        if is_json:
            ParseDict(_with_bytes(_object(body)), request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(body)
    except (DecodeError, FormatError, ValueError, TypeError, AttributeError, RecursionError):
        raise Refusal(400, f"the body is no {'JSON' if is_json else 'protobuf'} of OTLP {signal}") from None
    return request


def encode(message: Message, *, is_json: bool) -> bytes:
    """Return a message as the body of an answer."""
    return json.dumps(_dict(message)).encode() if is_json else message.SerializeToString()


def taken(signal: str, *, rejected: int = 0, why: str = "") -> _Response:
    """Return the answer to what was taken; `rejected` spans of it were not."""
    response = SIGNALS[signal][1]()
    if rejected and isinstance(response, ExportTraceServiceResponse):
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = why
    return response


def spans_of(request: Request) -> tuple[list[KeptSpan], int, str]:
    """Return the spans of a request, how many are not to be kept, and why the last of those is not."""
    kept: list[KeptSpan] = []
    rejected, why = 0, ""
    for resource in request.resource_spans if isinstance(request, ExportTraceServiceRequest) else ():
        for scope in resource.scope_spans:
            known = _too_much("what sends it", resource.resource, len(resource.resource.attributes)) or _too_much(
                "its scope", scope.scope, len(scope.scope.attributes)
            )
            source = "" if known else json.dumps({"resource": _dict(resource.resource), "scope": _dict(scope.scope)})
            for span in scope.spans:
                wrong = known or _wrong(span)
                if wrong:
                    rejected, why = rejected + 1, wrong
                else:
                    kept.append(KeptSpan(span.trace_id.hex(), span.span_id.hex(), source, json.dumps(_span(span))))
    return kept, rejected, why


def _object(body: bytes) -> dict[str, Any]:
    """Return the object of a JSON document. `ValueError` where it is none."""
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - whatever is wrong with a body is one error
    return document


def _wrong(span: Span) -> str:
    """Return why a span is not to be kept, empty where it is."""
    if not _is_id(span.trace_id, _TRACE_ID_BYTES) or not _is_id(span.span_id, _SPAN_ID_BYTES):
        return "a span has no valid id"
    if span.parent_span_id and len(span.parent_span_id) != _SPAN_ID_BYTES:
        return "a span's parent has no valid id"
    more = sum(len(event.attributes) for event in span.events) + sum(len(link.attributes) for link in span.links)
    return _too_much("a span", span, len(span.attributes) + more)


def _too_much(what: str, message: Message, attributes: int) -> str:
    if attributes > _MAX_ATTRIBUTES:
        return f"{what} has more than {_MAX_ATTRIBUTES} attributes"
    return f"{what} has more than {_MAX_SPAN_BYTES} bytes" if message.ByteSize() > _MAX_SPAN_BYTES else ""


def _is_id(value: bytes, size: int) -> bool:
    return len(value) == size and any(value)


def _span(span: Span) -> dict[str, Any]:
    """Return OTLP's JSON of a span."""
    document = _dict(span) | {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()}
    if span.parent_span_id:
        document["parentSpanId"] = span.parent_span_id.hex()
    for told, link in zip(document.get("links", ()), span.links, strict=True):
        told |= {"traceId": link.trace_id.hex(), "spanId": link.span_id.hex()}
    return document


def _dict(message: Message) -> dict[str, Any]:
    return MessageToDict(message, use_integers_for_enums=True)


def _with_bytes(value: Any) -> Any:
    """Return OTLP's JSON as protobuf's own: ids in base64. `ValueError` where one is no hex."""
    match value:
        case dict():
            return {
                name: base64.b64encode(bytes.fromhex(inner)).decode()
                if name in _IDS and isinstance(inner, str)
                else _with_bytes(inner)
                for name, inner in value.items()
            }
        case list():
            return [_with_bytes(inner) for inner in value]
        case _:
            return value
