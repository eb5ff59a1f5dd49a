"""What happens as spans of OpenTelemetry, by OTLP over HTTP. Part of the extra `otel`.

A listener is told of things once they are over. So each span is made then, with the event's times; an attempt's id is known
before, as what happens in it needs a parent. Of an attempt that is not sampled the events are held until it ends, and made into
spans then if it failed or was slow (`tail.py`).
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
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

    from cloudia.telemetry.events import AttemptIds, Happening, JobIds

__all__ = ["Spans"]

_InAttempt: TypeAlias = "JobLeased | ContextRead | ProviderCalled | ToolCalled | AnswerRecorded"

_MOST_OPEN = 4000
"""Attempts that are open: twice what a worker may have in work. One beyond that was lost, and the oldest is given up."""
_CLOSE_SECONDS = 1.0
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_MOST_HELD = 200
"""Events of an attempt that are held: more than one without tools has."""


@dataclass(slots=True)
class _Delivery:
    """What a client was handed of a job so far."""

    traceparent: str
    began_at: float
    frames: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Open:
    """The span of an attempt that is under way."""

    own: SpanContext
    above: SpanContext | None
    began: float
    told: dict[str, Any]
    first_text_at: float | None = None


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
        self._function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self._head = TracerProvider(shutdown_on_exit=False).sampler  # As its variables have it.
        self._resource = resource
        self._scope = InstrumentationScope("cloudia", __version__)
        self._longest = SpanLimits().max_span_attribute_length
        self._exporter = _Exporter()
        self._batches = BatchSpanProcessor(self._exporter)
        self._made = 0
        self._attempts: dict[tuple[str, int], _Open] = {}
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
        """Send what is left; what cannot be sent is dropped, and no more is tried again after a second."""
        decide_sampling_by(None)
        for attempt in self._attempts.values():
            self._close(attempt, time.time())
        patience = threading.Timer(_CLOSE_SECONDS, self._exporter.shutdown)
        patience.daemon = True
        patience.start()
        self._batches.shutdown()  # type: ignore[no-untyped-call]
        patience.cancel()
        if self._made > self._exporter.sent:
            log("spans were lost", level=logging.WARNING, count=self._made - self._exporter.sent, of=self._made)

    def _is_sampled(self, trace_id: str, parent: bool | None) -> bool:  # noqa: FBT001 - as W3C's flags have it
        number = int(trace_id, 16)
        above = None if parent is None else SpanContext(number, 1, is_remote=True, trace_flags=TraceFlags(int(parent)))
        decided = self._head.should_sample(_parent(above), number, names.ACCEPT, SpanKind.SERVER)
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
        told: dict[str, Any] = {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: "/messages", names.HTTP_STATUS: 202}
        if self._function:
            told[names.TRIGGER] = "http"
        self._span(
            self._function or names.ACCEPT,
            event.at - event.seconds,
            event.at,
            _context(event.parent),
            own=own,
            kind=SpanKind.SERVER,
            told={**told, **_ids(event.job)},
        )
        if event.send_seconds is not None:
            told = self._messaging("send")
            began = event.at - event.send_seconds
            self._span(names.send(self._queue), began, event.at, own, kind=SpanKind.PRODUCER, told=told)

    def _leased(self, event: JobLeased) -> None:
        above, began = _context(event.job.traceparent), event.at - event.seconds
        if event.job.attempt == 1:
            self._span(names.QUEUE, min(event.accepted_at, began), began, above)
        if len(self._attempts) >= _MOST_OPEN:
            self._close(self._attempts.pop(next(iter(self._attempts))), event.at)
        own = _new(above, span_id=int(attempt_span_id(*_key(event.job)), 16))
        told = {
            **self._messaging("process"),
            names.ATTEMPT: event.job.attempt,
            names.WORKER: event.worker_id,
            **_ids(event.job),
        }
        self._attempts[_key(event.job)] = _Open(own, above, began, told)
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
        attempt = self._attempts.get(_key(event.job))
        if attempt:
            attempt.first_text_at = event.at

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
            self._span(names.DELIVER, delivery.began_at, event.at, _context(delivery.traceparent), told=told)

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
        above = attempt.own if attempt else _context(event.job.traceparent)
        self._span(name, event.at - event.seconds, event.at, above, kind=kind, told=told, error=error)

    def _end(
        self,
        event: JobEnded | AttemptFailed | AttemptStopped,
        outcome: str,
        told: Mapping[str, Any],
        *,
        error: str | None,
    ) -> None:
        attempt = self._attempts.pop(_key(event.job), None)
        if attempt:
            attempt.told |= {names.OUTCOME: outcome, **told}
            self._close(attempt, event.at, error=error)

    def _close(self, attempt: _Open, at: float, *, error: str | None = None) -> None:
        first = attempt.first_text_at
        self._span(
            names.process(self._queue),
            attempt.began,
            at,
            attempt.above,
            own=attempt.own,
            kind=SpanKind.CONSUMER,
            told=attempt.told,
            error=error,
            links=[Link(attempt.above)] if attempt.above else [],
            events=[] if first is None else [Event("first text", timestamp=_nanoseconds(first))],
        )

    def _messaging(self, operation: str) -> dict[str, Any]:
        return {
            names.MESSAGING_SYSTEM: names.SYSTEM,
            names.DESTINATION: self._queue,
            names.MESSAGING_TYPE: operation,
            names.MESSAGING_NAME: operation,
        }

    def _span(
        self,
        name: str,
        began: float,
        ended: float,
        above: SpanContext | None,
        *,
        own: SpanContext | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        told: Mapping[str, Any] | None = None,
        error: str | None = None,
        links: Sequence[Link] = (),
        events: Sequence[Event] = (),
    ) -> None:
        """Send a span. It is made whole, and not by a tracer, which takes five times as long to make it bit by bit."""
        attributes = {**(told or {}), **({names.ERROR: error} if error else {})}
        if self._longest:
            attributes = {
                key: value[: self._longest] if isinstance(value, str) else value for key, value in attributes.items()
            }
        span = ReadableSpan(
            name,
            _new(above, span_id=own.span_id, trace_id=own.trace_id) if own else _new(above),
            above,
            self._resource,
            attributes,
            events,
            links,
            kind,
            status=Status(StatusCode.ERROR, error) if error else Status(StatusCode.UNSET),
            start_time=_nanoseconds(began),
            end_time=_nanoseconds(ended),
            instrumentation_scope=self._scope,
        )
        self._batches.on_end(span)
        self._made += 1


def _new(above: SpanContext | None, *, span_id: int = 0, trace_id: int = 0) -> SpanContext:
    """Return the context of a new span, in the trace of the one above."""
    trace_id = trace_id or (above.trace_id if above else secrets.randbits(128))
    return SpanContext(trace_id, span_id or secrets.randbits(64), is_remote=False, trace_flags=_SAMPLED)


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


def _parent(above: SpanContext | None) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(above), Context()) if above else Context()


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000) * 1000
