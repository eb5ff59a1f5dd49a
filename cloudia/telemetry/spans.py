"""What happens as spans of OpenTelemetry, by OTLP over HTTP. Part of the extra `otel`.

A listener is told of things once they are over. So each span is made then, with the event's times; an attempt's alone stays
open, as what happens in it needs a parent. Of an attempt that is not sampled the events are held until it ends, and made into
spans then if it failed or was slow (`tail.py`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision
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
from cloudia.telemetry.logs import log
from cloudia.telemetry.tail import ends_attempt, is_kept, is_kept_delivery
from cloudia.telemetry.traceparent import attempt_span_id, decide_sampling_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span

    from cloudia.telemetry.events import AttemptIds, Happening, JobIds

__all__ = ["Spans"]

_InAttempt: TypeAlias = "JobLeased | ContextRead | ProviderCalled | ToolCalled | AnswerRecorded"

_MOST_OPEN = 4000
"""Attempts that are open: twice what a worker may have in work. One beyond that was lost, and the oldest is given up."""
_MOST_HELD = 200
"""Events of an attempt that are held: more than one without tools has."""


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


class _Exporter(OTLPSpanExporter):
    """Counts what has arrived."""

    sent = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
        return result


class Spans:
    """Takes what happens on one thread, and sends its spans; `close` it with what is left.

    From now on this process decides what is sampled, by OTEL_TRACES_SAMPLER.
    """

    def __init__(self, resource: Resource, *, queue: str, slow_seconds: float) -> None:
        self._queue = queue
        self._slow_seconds = slow_seconds
        self._head = TracerProvider(shutdown_on_exit=False).sampler  # As its variables have it.
        self._ids = _Ids()
        self._exporter = _Exporter()
        self._made = 0
        self._traces = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False, id_generator=self._ids)
        self._traces.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._traces.get_tracer("cloudia", __version__)
        self._attempts: dict[tuple[str, int], Span] = {}
        self._held: dict[tuple[str, int], list[Happening]] = {}
        """Of attempts that are not sampled, what has happened in them so far."""
        self._deliveries: dict[tuple[str, str], _Delivery] = {}
        self._told: dict[type[Happening], Callable[[Any], None]] = {
            JobAccepted: self._accepted,
            JobLeased: self._leased,
            ContextRead: lambda event: self._within(event, names.CONTEXT),
            ProviderCalled: self._called,
            ToolCalled: self._tool,
            FirstText: self._first_text,
            AnswerRecorded: lambda event: self._within(event, names.RECORD),
            AttemptFailed: self._failed,
            AttemptStopped: lambda event: self._end(event, event.reason, {}, error=None),
            JobEnded: self._ended,
            FrameDelivered: self._delivered,
        }
        decide_sampling_by(self._is_sampled)

    def __call__(self, event: Happening) -> None:
        """Make of an event what it is a span of, or hold it until it is known whether its attempt is kept."""
        tell = self._told.get(type(event))
        if tell is None:
            return
        if isinstance(event, JobAccepted | FrameDelivered) or not self._hold(event):  # These two decide for themselves.
            tell(event)

    def close(self) -> None:
        """Send what is left; what cannot be sent is dropped by the exporter, which waits 10 s at most."""
        decide_sampling_by(None)
        for span in self._attempts.values():
            self._finish(span, None)
        self._traces.shutdown()
        if self._made > self._exporter.sent:
            log("spans were lost", level=logging.WARNING, count=self._made - self._exporter.sent, of=self._made)

    def _is_sampled(self, trace_id: str, parent: bool | None) -> bool:  # noqa: FBT001 - as W3C's flags have it
        number = int(trace_id, 16)
        above = None if parent is None else SpanContext(number, 1, is_remote=True, trace_flags=TraceFlags(int(parent)))
        decided = self._head.should_sample(_parent(above) or Context(), number, names.ACCEPT, SpanKind.SERVER)
        return decided.decision is Decision.RECORD_AND_SAMPLE

    def _samples(self, traceparent: str | None) -> bool:
        own = _context(traceparent)
        return own is None or self._is_sampled(f"{own.trace_id:032x}", own.trace_flags.sampled)

    def _hold(self, event: Any) -> bool:
        """Hold an event of an attempt that is not sampled. Return whether it was, and is of no concern any more."""
        key = _key(event.job)
        if isinstance(event, JobLeased) and not self._samples(event.job.traceparent):
            if len(self._held) >= _MOST_OPEN:
                self._held.pop(next(iter(self._held)))
            self._held[key] = []
        held = self._held.get(key)
        if held is None:
            return False
        if ends_attempt(event):
            del self._held[key]
            if is_kept(event, self._slow_seconds):
                for each in (*held, event):
                    self._told[type(each)](each)
        elif len(held) < _MOST_HELD:
            held.append(event)
        return True

    def _accepted(self, event: JobAccepted) -> None:
        own = _context(event.job.traceparent)
        if own is None or event.again:
            return
        if not own.trace_flags.sampled and event.seconds <= self._slow_seconds:
            return
        began = event.at - event.seconds
        self._ids.trace, self._ids.span = own.trace_id, own.span_id
        told: dict[str, Any] = {
            names.HTTP_METHOD: "POST",
            names.HTTP_ROUTE: "/messages",
            names.HTTP_STATUS: 202,
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
                told={**sending, names.MESSAGING_TYPE: "send", names.MESSAGING_NAME: "send"},
            )
            self._finish(sent, event.at)
        self._finish(span, event.at)

    def _leased(self, event: JobLeased) -> None:
        above, began = _context(event.job.traceparent), event.at - event.seconds
        if event.job.attempt == 1:
            wait = self._span(names.QUEUE, min(event.accepted_at, began), _parent(above))
            self._finish(wait, began)
        if len(self._attempts) >= _MOST_OPEN:
            self._finish(self._attempts.pop(next(iter(self._attempts))), None)
        self._ids.span = int(attempt_span_id(*_key(event.job)), 16)
        self._attempts[_key(event.job)] = self._span(
            names.process(self._queue),
            began,
            _parent(above),
            kind=SpanKind.CONSUMER,
            told={
                names.MESSAGING_SYSTEM: names.SYSTEM,
                names.DESTINATION: self._queue,
                names.MESSAGING_TYPE: "process",
                names.MESSAGING_NAME: "process",
                names.ATTEMPT: event.job.attempt,
                names.WORKER: event.worker_id,
                **_ids(event.job),
            },
            links=[Link(above)] if above else [],
        )
        self._within(event, names.LEASE)

    def _called(self, event: ProviderCalled) -> None:
        found = {
            names.OPERATION: "chat",
            names.PROVIDER: event.provider,
            names.MODEL: event.model,
            names.FIRST_CHUNK: event.first_piece_seconds,
            names.INPUT_TOKENS: event.input_tokens,
            names.OUTPUT_TOKENS: event.output_tokens,
            names.FINISH: [event.finish] if event.finish else None,
            names.HTTP_STATUS: event.status,
            names.CONVERSATION: event.job.conversation_id,
        }
        told = {name: value for name, value in found.items() if value is not None}
        self._within(event, names.chat(event.model), told, error=event.error, kind=SpanKind.CLIENT)

    def _ended(self, event: JobEnded) -> None:
        cost = (event.usage or {}).get("cost_usd")
        told = {names.LLM_CALLS: event.llm_calls, names.STATUS: event.status, names.COST: cost}
        known = {name: value for name, value in told.items() if value is not None}
        self._end(event, event.status, known, error=event.code)

    def _tool(self, event: ToolCalled) -> None:
        told = {names.OPERATION: "execute_tool", names.TOOL: event.tool}
        self._within(event, names.execute_tool(event.tool), told, error=event.error)

    def _first_text(self, event: FirstText) -> None:
        span = self._attempts.get(_key(event.job))
        if span:
            span.add_event("first text", timestamp=_nanoseconds(event.at))

    def _failed(self, event: AttemptFailed) -> None:
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
            if not (self._samples(delivery.traceparent) or is_kept_delivery(event, self._slow_seconds)):
                return
            told = {names.FRAMES: delivery.frames, names.BYTES: delivery.bytes, names.JOB: key[1]}
            above = _parent(_context(delivery.traceparent))
            span = self._span(names.DELIVER, delivery.began_at, above, told=told)
            self._finish(span, event.at)

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
        self._finish(span, event.at)

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
            self._finish(span, event.at)

    def _finish(self, span: Span, at: float | None) -> None:
        span.end(None if at is None else _nanoseconds(at))
        self._made += 1

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
