"""A waterfall as OTLP's JSON, for any tool that draws traces: one trace, one span a part.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding; names and attributes are those of the semantic conventions
for messaging (https://opentelemetry.io/docs/specs/semconv/messaging/) and generative AI
(https://github.com/open-telemetry/semantic-conventions-genai).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from cloudia import __version__
from cloudia.operate.spans import told_by
from cloudia.telemetry import conventions as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudia.operate.spans import Span
    from cloudia.operate.waterfall import Part, Waterfall
    from cloudia.protocol import AttemptRecord

__all__ = ["otlp"]

_INTERNAL, _CLIENT, _CONSUMER = 1, 3, 5
_ERROR = 2


def otlp(drawn: Waterfall, *, queue: str, stack: str, spans: Sequence[Span] = ()) -> dict[str, Any]:
    """Return one trace: the message, its waits, each attempt, and the LLM within it. A part that goes on has no span yet.

    The trace's id is the request's, where that is known; the same record gives the same ids of spans. What one of `spans`
    tells as well, which a collector has, is left to that.
    """
    job = drawn.job
    trace = job.trace_id or _hash(job.job_id, 16)
    root = _hash(f"{job.job_id} message", 8)
    whole = {
        names.JOB: job.job_id,
        names.CONVERSATION: job.conversation_id,
        names.STATUS: job.status,
    }
    code = (job.error or {}).get("code")
    known = told_by(drawn, spans)
    asked_in = {span.parent_id for span in spans if span.is_chat}
    made = [_span((trace, root, ""), names.MESSAGE, (drawn.began_at, drawn.ended_at), (_INTERNAL, whole), error=code)]
    for number, part in enumerate(drawn.parts):
        if part.goes_on or part.within:
            continue
        theirs = known.get(number)
        own, times = _hash(f"{job.job_id} {number} {part.kind}", 8), (part.began_at, part.ended_at)
        attempt = part.attempt
        if attempt is None:
            if theirs:
                continue
            made.append(_span((trace, own, root), part.kind.replace("_", " "), times, (_INTERNAL, {}), error=None))
            continue
        error = (attempt.code or part.outcome) if part.failed else None
        received = dict(_attempt(part, attempt, queue))
        if theirs:
            own = theirs.span_id
        else:
            made.append(_span((trace, own, root), names.process(queue), times, (_CONSUMER, received), error=error))
        if attempt.model and own not in asked_in:
            asked = dict(_chat(part, attempt))
            call = _hash(f"{own} chat", 8)
            made.append(_span((trace, call, own), names.chat(attempt.model), times, (_CLIENT, asked), error=error))
    resource = {"service.name": "cloudia", "service.namespace": stack, "service.version": __version__}
    scope = {"name": "cloudia", "version": __version__}
    return {
        "resourceSpans": [
            {"resource": {"attributes": _encoded(resource)}, "scopeSpans": [{"scope": scope, "spans": made}]}
        ]
    }


def _attempt(part: Part, attempt: AttemptRecord, queue: str) -> Iterator[tuple[str, Any]]:
    yield from ((names.MESSAGING_SYSTEM, names.SYSTEM), ("messaging.operation.type", "process"))
    yield from (("messaging.operation.name", "process"), (names.DESTINATION, queue))
    yield names.ATTEMPT, attempt.attempt
    yield names.WORKER, attempt.worker_id
    yield names.OUTCOME, part.outcome
    yield names.LLM_CALLS, attempt.llm_calls
    yield names.SWITCHES, attempt.switches


def _chat(part: Part, attempt: AttemptRecord) -> Iterator[tuple[str, Any]]:
    usage = attempt.usage or {}
    yield from ((names.OPERATION, "chat"), (names.PROVIDER, attempt.provider))
    yield names.MODEL, attempt.model
    if attempt.first_text_at is not None:
        yield names.FIRST_CHUNK, max(0.0, attempt.first_text_at - part.began_at)
    yield names.FINISH, [attempt.finish] if attempt.finish else None
    yield names.INPUT_TOKENS, _whole(usage.get("input_tokens"))
    yield names.OUTPUT_TOKENS, _whole(usage.get("output_tokens"))
    yield names.COST, usage.get("cost_usd")


def _span(
    own: tuple[str, str, str],
    name: str,
    times: tuple[float, float],
    what: tuple[int, dict[str, Any]],
    *,
    error: str | None,
) -> dict[str, Any]:
    """Return a span of these ids (trace, span, parent), times, kind and attributes."""
    (trace, span_id, parent), (kind, attributes) = own, what
    told = {**attributes, names.ERROR: error}
    span: dict[str, Any] = {
        "traceId": trace,
        "spanId": span_id,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": _nanoseconds(times[0]),
        "endTimeUnixNano": _nanoseconds(times[1]),
        "attributes": _encoded(told),
        "status": {"code": _ERROR, "message": error} if error else {},
    }
    return {**span, "parentSpanId": parent} if parent else span


def _encoded(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_value(item) for item in value]}}
        case _:
            return {"stringValue": str(value)}


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _nanoseconds(seconds: float) -> str:
    return str(round(seconds * 1000) * 1_000_000)


def _hash(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
