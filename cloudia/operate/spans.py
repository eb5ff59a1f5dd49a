"""The spans that a collector has of a message's trace: read from OTLP JSON, and put among the parts of its record. No I/O.

Anybody makes spans: what is none is passed over, and one whose times cannot be counts as 0 at the beginning, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cloudia.operate.waterfall import Part
from cloudia.telemetry import conventions as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cloudia.operate.waterfall import Waterfall

__all__ = ["Span", "among", "read", "told_by"]

_OWN = "cloudia"
"""The scope of the spans that are our own."""
_NANOSECONDS = 1e9
_FAR_SECONDS = 86_400.0
"""What is further from a message than that has nothing to do with it."""
_MOST = 100
"""Spans that are drawn."""
_DEEPEST = 6
_CLOSE_SECONDS = 0.05
"""By so much may a span of an attempt end after it."""
_LONGEST = 200
_ERROR = 2


@dataclass(frozen=True, slots=True)
class Span:
    """A span. Its texts are of whoever sent it."""

    span_id: str
    parent_id: str
    name: str
    scope: str
    began_at: float
    """Epoch seconds."""
    ended_at: float
    failed: bool
    told: str
    """Why it failed."""
    attributes: Mapping[str, Any]

    @property
    def attempt(self) -> int | None:
        """Which attempt it is, where it is one of ours."""
        number = self.attributes.get(names.ATTEMPT) if self.scope == _OWN else None
        return int(number) if isinstance(number, str | int) and str(number).isdigit() else None

    @property
    def is_first_wait(self) -> bool:
        """Whether it is the wait for the first attempt."""
        return self.scope == _OWN and self.name == "queue"

    @property
    def is_chat(self) -> bool:
        """Whether it is one request to an LLM."""
        return self.scope == _OWN and self.attributes.get(names.OPERATION) == "chat"


def read(document: Any) -> list[Span]:
    """Return the spans of `TracesData`, by their beginnings."""
    found: dict[str, Span] = {}
    for resource in _objects(document, "resourceSpans"):
        for scope in _objects(resource, "scopeSpans"):
            named = scope.get("scope")
            by = str(named.get("name", "")) if isinstance(named, dict) else ""
            for span in _objects(scope, "spans"):
                if span_id := _text(span, "spanId"):
                    found[span_id] = _span(span, span_id, by)
    return sorted(found.values(), key=lambda span: span.began_at)


def told_by(drawn: Waterfall, spans: Sequence[Span]) -> dict[int, Span]:
    """Return which parts of a record, by their place, are told by a span as well: the first wait, and attempts."""
    found: dict[int, Span] = {}
    waits = [span for span in spans if span.is_first_wait]
    attempts = [span for span in spans if span.attempt is not None]
    for place, part in enumerate(drawn.parts):
        if part.kind == "queue" and waits and place == 0:
            found[place] = waits[0]
        elif part.kind == "attempt" and part.attempt:
            same = [span for span in attempts if span.attempt == part.attempt.attempt]
            if same:  # After a redrive attempts are counted anew.
                found[place] = min(same, key=lambda span: abs(span.began_at - part.began_at))
                attempts.remove(found[place])
    return found


def among(drawn: Waterfall, spans: Sequence[Span]) -> Waterfall:
    """Return a waterfall with those spans that its record does not tell: each below its attempt, the others around these.

    Beyond 100 spans the rest is left out, and the last one says how many.
    """
    known = told_by(drawn, spans)
    left = [span for span in spans if span not in known.values()]
    below: dict[int, list[Part]] = {}
    before: list[Part] = []
    after: list[Part] = []
    first = next((part.began_at for part in drawn.parts if part.kind == "attempt"), drawn.ended_at)
    for path in _paths(left)[:_MOST]:
        place = _owner(path[0], drawn, known)
        if place is not None:
            below.setdefault(place, []).append(_part(path[-1], drawn, depth=len(path)))
        else:
            around = before if path[0].began_at < first else after
            around.append(_part(path[-1], drawn, depth=len(path) - 1))
    parts = before
    pending: list[Part] = []
    for place, part in enumerate(drawn.parts):
        if not part.within:
            parts, pending = [*parts, *pending], below.get(place, [])
        parts.append(part)
    parts += [*pending, *after]
    if len(left) > _MOST:
        parts[-1] = replace(parts[-1], told=f"{parts[-1].told}  {len(left) - _MOST} more spans".strip())
    return replace(drawn, parts=tuple(parts))


def _paths(spans: Sequence[Span]) -> list[tuple[Span, ...]]:
    """Return each span behind those that it is within, in the order in which a tree of them is drawn."""
    by_id = {span.span_id: span for span in spans}
    paths = []
    for span in spans:
        path = [span]
        while (above := by_id.get(path[0].parent_id)) and above not in path and len(path) < _DEEPEST:
            if path[0].began_at > above.ended_at:
                break  # The request is the parent of all that follows it.
            path.insert(0, above)
        paths.append(tuple(path))
    return sorted(paths, key=lambda path: [(span.began_at, span.span_id) for span in path])


def _owner(span: Span, drawn: Waterfall, known: Mapping[int, Span]) -> int | None:
    """Return the place of the attempt that a span is within: by its parent; one of the user's own by its time too."""
    for place, attempt in known.items():
        if attempt.span_id == span.parent_id and attempt.attempt is not None:
            return place
    for place, part in enumerate(drawn.parts):
        inside = part.began_at <= span.began_at and span.ended_at <= part.ended_at + _CLOSE_SECONDS
        if part.kind == "attempt" and inside and span.scope != _OWN:
            return place
    return None


def _part(span: Span, drawn: Waterfall, *, depth: int) -> Part:
    far = not (drawn.began_at - _FAR_SECONDS < span.began_at < drawn.ended_at + _FAR_SECONDS)
    began = drawn.began_at if far else span.began_at
    ended = began if far or span.ended_at > drawn.ended_at + _FAR_SECONDS else span.ended_at
    return Part(
        kind="span",
        name=span.name,
        began_at=began,
        ended_at=max(began, ended),
        skewed=far or span.ended_at < span.began_at or ended < span.ended_at,
        outcome="failed" if span.failed else None,
        told=span.told,
        depth=depth,
    )


def _span(document: Mapping[str, Any], span_id: str, scope: str) -> Span:
    status = document.get("status")
    status = status if isinstance(status, dict) else {}
    attributes = {_text(pair, "key"): _value(pair.get("value")) for pair in _objects(document, "attributes")}
    error = attributes.get(names.ERROR) or status.get("message") or ""
    failed = status.get("code") in {_ERROR, "STATUS_CODE_ERROR"}
    return Span(
        span_id=span_id,
        parent_id=_text(document, "parentSpanId"),
        name=_text(document, "name") or "?",
        scope=scope,
        began_at=_seconds(document.get("startTimeUnixNano")),
        ended_at=_seconds(document.get("endTimeUnixNano")),
        failed=failed,
        told=str(error)[:_LONGEST] if failed else "",
        attributes=attributes,
    )


def _value(value: Any) -> Any:
    """Return the value of an attribute; None where it is none of one kind."""
    return next(iter(value.values()), None) if isinstance(value, dict) and len(value) == 1 else None


def _seconds(nanoseconds: Any) -> float:
    try:
        return int(nanoseconds) / _NANOSECONDS
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value[:_LONGEST] if isinstance(value, str) else ""


def _objects(document: Any, name: str) -> Iterator[Mapping[str, Any]]:
    inner = document.get(name) if isinstance(document, dict) else None
    yield from (each for each in (inner if isinstance(inner, list) else ()) if isinstance(each, dict))
