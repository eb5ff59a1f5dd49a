"""What happens as spans and metrics of OpenTelemetry, by OTLP over HTTP. It is the extra `otel`; nothing else imports it.

Where spans go, how they are sampled and what else OpenTelemetry's variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, …) is for its SDK to read:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

A listener is told of things once they are over. So each span is made then, with the event's times; an attempt's alone stays
open, as what happens in it needs a parent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from cloudia import __version__
from cloudia.protocol import TERMINAL_EVENTS
from cloudia.telemetry import conventions as names
from cloudia.telemetry.events import (
    AnswerRecorded,
    AttemptFailed,
    AttemptStopped,
    ContextRead,
    FirstText,
    FrameDelivered,
    JobAccepted,
    JobEnded,
    JobLeased,
    ProviderCalled,
    ToolCalled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from cloudia.telemetry.events import AttemptIds, Happening, JobIds

__all__ = ["Exporter"]

_InAttempt: TypeAlias = "JobLeased | ContextRead | ProviderCalled | ToolCalled | AnswerRecorded"

_MOST_OPEN = 4000
"""Attempts that are open: twice what a worker may have in work. One beyond that was lost, and the oldest is given up."""


@dataclass(slots=True)
class _Delivery:
    """What a client was handed of a job so far."""

    traceparent: str
    began_at: float
    frames: int = 0
    bytes: int = 0


class _Ids(RandomIdGenerator):
    """Gives the next span the id that others were told of it, and a new trace the one it was told under."""

    def __init__(self) -> None:
        self.trace: int | None = None
        self.span: int | None = None

    def generate_trace_id(self) -> int:
        told, self.trace = self.trace, None
        return told or super().generate_trace_id()

    def generate_span_id(self) -> int:
        told, self.span = self.span, None
        return told or super().generate_span_id()


class Exporter:
    """A listener: tell it what happens on one thread, and `close` it with what is left."""

    def __init__(self, part: str, *, stack: str, queue: str) -> None:
        self._queue = queue
        named = {"service.name": f"cloudia-{part}", "service.namespace": stack, "service.version": __version__}
        resource = Resource.create(named).merge(OTELResourceDetector().detect())  # What its variables say goes before.
        self._ids = _Ids()
        self._traces = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._traces.get_tracer("cloudia", __version__)
        self._metrics = MeterProvider(
            [PeriodicExportingMetricReader(OTLPMetricExporter())],
            resource,
            shutdown_on_exit=False,
            views=[View(instrument_unit="s", aggregation=ExplicitBucketHistogramAggregation(names.DURATION_BUCKETS))],
        )
        meter = self._metrics.get_meter("cloudia", __version__)
        self._instruments: dict[str, Any] = {
            name: getattr(meter, f"create_{kind}")(name, unit=unit, description=doc)
            for name, (kind, unit, doc) in names.METRICS.items()
        }
        self._attempts: dict[tuple[str, int], Span] = {}
        self._deliveries: dict[tuple[str, str], _Delivery] = {}
        self._told: dict[type[Happening], Callable[[Any], None]] = {
            JobAccepted: self._accepted,
            JobLeased: self._leased,
            ContextRead: lambda event: self._within(event, "read context"),
            ProviderCalled: self._called,
            ToolCalled: self._tool,
            FirstText: self._first_text,
            AnswerRecorded: lambda event: self._within(event, "record"),
            AttemptFailed: self._failed,
            AttemptStopped: lambda event: self._end(event, event.reason, {}, error=None),
            JobEnded: self._ended,
            FrameDelivered: self._delivered,
        }

    def close(self) -> None:
        """Send what is left; what cannot be sent is dropped by the exporters, which wait 10 s at most."""
        for span in self._attempts.values():
            span.end()
        self._traces.shutdown()
        self._metrics.shutdown()

    def __call__(self, event: Happening) -> None:
        """Make of an event what it is a span or a number of."""
        tell = self._told.get(type(event))
        if tell:
            tell(event)

    def _accepted(self, event: JobAccepted) -> None:
        own = _context(event.job.traceparent)
        if own is None or event.again:
            return
        began = event.at - event.seconds
        self._ids.trace, self._ids.span = own.trace_id, own.span_id
        told: dict[str, Any] = {
            "http.request.method": "POST",
            "http.route": "/messages",
            "http.response.status_code": 202,
        }
        above = _parent(_context(event.parent))
        span = self._span(names.ACCEPT, began, above, kind=SpanKind.SERVER, told={**told, **_ids(event.job)})
        self._ids.trace = self._ids.span = None
        if event.send_seconds is not None:
            sending = {names.MESSAGING_SYSTEM: names.SYSTEM, names.DESTINATION: self._queue}
            sent = self._span(
                names.send(self._queue),
                event.at - event.send_seconds,
                trace.set_span_in_context(span),
                kind=SpanKind.PRODUCER,
                told={**sending, "messaging.operation.type": "send", "messaging.operation.name": "send"},
            )
            sent.end(_nanoseconds(event.at))
        span.end(_nanoseconds(event.at))
        self._instruments["cloudia.jobs.accepted"].add(1)

    def _leased(self, event: JobLeased) -> None:
        above, began = _context(event.job.traceparent), event.at - event.seconds
        if event.job.attempt == 1:
            waited = max(0.0, began - event.accepted_at)
            wait = self._span("queue", min(event.accepted_at, began), _parent(above))
            wait.end(_nanoseconds(began))
            self._instruments["cloudia.queue.wait"].record(waited)
        if len(self._attempts) >= _MOST_OPEN:
            self._attempts.pop(next(iter(self._attempts))).end()
        self._attempts[_key(event.job)] = self._span(
            names.process(self._queue),
            began,
            _parent(above),
            kind=SpanKind.CONSUMER,
            told={
                names.MESSAGING_SYSTEM: names.SYSTEM,
                names.DESTINATION: self._queue,
                "messaging.operation.type": "process",
                "messaging.operation.name": "process",
                names.ATTEMPT: event.job.attempt,
                names.WORKER: event.worker_id,
                **_ids(event.job),
            },
            links=[Link(above)] if above else [],
        )
        self._within(event, "lease")

    def _called(self, event: ProviderCalled) -> None:
        what = {names.OPERATION: "chat", names.PROVIDER: event.provider, names.MODEL: event.model}
        failed = {names.ERROR: event.error} if event.error else {}
        found = {
            names.FIRST_CHUNK: event.first_piece_seconds,
            names.INPUT_TOKENS: event.input_tokens,
            names.OUTPUT_TOKENS: event.output_tokens,
            names.FINISH: [event.finish] if event.finish else None,
            "http.response.status_code": event.status,
            names.CONVERSATION: event.job.conversation_id,
        }
        told: dict[str, Any] = {**what, **{name: value for name, value in found.items() if value is not None}}
        self._within(event, names.chat(event.model), told, error=event.error, kind=SpanKind.CLIENT)
        self._instruments["gen_ai.client.operation.duration"].record(event.seconds, {**what, **failed})
        if event.first_piece_seconds is not None:
            self._instruments["gen_ai.client.operation.time_to_first_chunk"].record(event.first_piece_seconds, what)
        for kind, tokens in (("input", event.input_tokens), ("output", event.output_tokens)):
            if tokens is not None:
                self._instruments["gen_ai.client.token.usage"].record(tokens, {**what, names.TOKEN_TYPE: kind})

    def _ended(self, event: JobEnded) -> None:
        cost = (event.usage or {}).get("cost_usd")
        told = {names.LLM_CALLS: event.llm_calls, names.STATUS: event.status, names.COST: cost}
        known = {name: value for name, value in told.items() if value is not None}
        self._end(event, event.status, known, error=event.code)
        how = {names.STATUS: event.status, **({names.ERROR: event.code} if event.code else {})}
        self._instruments["cloudia.jobs.ended"].add(1, how)
        self._instruments["cloudia.job.duration"].record(max(0.0, event.at - event.accepted_at), how)

    def _tool(self, event: ToolCalled) -> None:
        told = {names.OPERATION: "execute_tool", names.TOOL: event.tool}
        self._within(event, names.execute_tool(event.tool), told, error=event.error)

    def _first_text(self, event: FirstText) -> None:
        span = self._attempts.get(_key(event.job))
        if span:
            span.add_event("first text", timestamp=_nanoseconds(event.at))

    def _failed(self, event: AttemptFailed) -> None:
        outcome = {names.ERROR: event.code, names.OUTCOME: event.decision.lower()}
        self._instruments["cloudia.attempts.failed"].add(1, outcome)
        if event.delay is not None:  # Else the end of its job is told next, and is its own.
            self._end(event, "retried", {names.BACK_OFF_SECONDS: event.delay}, error=event.code)

    def _delivered(self, event: FrameDelivered) -> None:
        """Note a frame; with the last one of a job make the span of all that a gateway handed to its client."""
        key = (event.session_id, event.job_id or "")
        if event.traceparent and key not in self._deliveries:
            if len(self._deliveries) >= _MOST_OPEN:
                self._deliveries.pop(next(iter(self._deliveries)))
            self._deliveries[key] = _Delivery(event.traceparent, event.at - event.seconds)
        delivery = self._deliveries.get(key)
        if delivery is None:
            return
        delivery.frames, delivery.bytes = delivery.frames + 1, delivery.bytes + event.bytes
        if event.kind in TERMINAL_EVENTS:
            del self._deliveries[key]
            told = {names.FRAMES: delivery.frames, names.BYTES: delivery.bytes, names.JOB: key[1]}
            above = _parent(_context(delivery.traceparent))
            span = self._span(names.DELIVER, delivery.began_at, above, told=told)
            span.end(_nanoseconds(event.at))

    def _within(
        self,
        event: _InAttempt,
        name: str,
        told: Mapping[str, Any] | None = None,
        *,
        error: str | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        """Make a span of an attempt's, which is over."""
        attempt = self._attempts.get(_key(event.job))
        above = trace.set_span_in_context(attempt) if attempt else _parent(_context(event.job.traceparent))
        span = self._span(name, event.at - event.seconds, above, kind=kind, told=told)
        _fail(span, error)
        span.end(_nanoseconds(event.at))

    def _end(
        self,
        event: JobEnded | AttemptFailed | AttemptStopped,
        outcome: str,
        told: Mapping[str, Any],
        *,
        error: str | None,
    ) -> None:
        span = self._attempts.pop(_key(event.job), None)
        if span:
            span.set_attributes({names.OUTCOME: outcome, **told})
            _fail(span, error)
            span.end(_nanoseconds(event.at))

    def _span(
        self,
        name: str,
        began: float,
        above: Context | None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        told: Mapping[str, Any] | None = None,
        links: list[Link] | None = None,
    ) -> Span:
        return self._tracer.start_span(
            name, above, kind, dict(told or {}), links, start_time=_nanoseconds(began), record_exception=False
        )


def _fail(span: Span, error: str | None) -> None:
    if error:
        span.set_attribute(names.ERROR, error)
        span.set_status(Status(StatusCode.ERROR, error))


def _ids(job: JobIds) -> dict[str, str]:
    return {names.JOB: job.job_id, names.CONVERSATION: job.conversation_id}


def _key(job: AttemptIds) -> tuple[str, int]:
    return job.job_id, job.fence


def _context(traceparent: str | None) -> SpanContext | None:
    """Return the span that a `traceparent` of ours names, None where it is none."""
    parts = (traceparent or "").split("-")
    try:
        _, trace_id, span_id, flags, *_ = parts
        found = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    except ValueError:
        return None
    return found if found.is_valid else None


def _parent(above: SpanContext | None) -> Context | None:
    return trace.set_span_in_context(NonRecordingSpan(above)) if above else None


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000) * 1000
