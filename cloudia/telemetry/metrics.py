"""What happens as metrics of OpenTelemetry: by OTLP over HTTP, for Prometheus to read, or both. Part of the extra `otel`.

What is counted, and by which attributes, stands in `conventions.METRICS`. Counters and histograms are told as things happen,
gauges by what was last told of them.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

from cloudia import __version__
from cloudia.frames import EVENTS
from cloudia.protocol import TERMINAL_EVENTS
from cloudia.telemetry import conventions as names
from cloudia.telemetry.events import (
    AttemptFailed,
    BreakerChanged,
    ConnectionEnded,
    ConnectionOpened,
    FrameDelivered,
    FramePushed,
    GatewaySampled,
    JobAccepted,
    JobEnded,
    JobLeased,
    ProviderCalled,
    QueueSampled,
    RouteSkipped,
    WorkerSampled,
)
from cloudia.telemetry.listeners import dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opentelemetry.metrics import CallbackOptions
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

    from cloudia.telemetry.events import Happening

__all__ = ["Metrics"]

_FRESH_SECONDS = 60.0
"""How long a gauge says what was last told of it: four samples of the queue."""
_STATM = Path("/proc/self/statm")


class Metrics:
    """Takes what happens on one thread, and gives it to `readers` whenever they ask. `close` lets them send what is left."""

    def __init__(self, readers: Sequence[MetricReader], resource: Resource) -> None:
        self._gauges: dict[str, dict[tuple[tuple[str, str], ...], tuple[float, float]]] = {}
        """By name and attributes: a value, and when it was told."""
        buckets = ExplicitBucketHistogramAggregation(names.DURATION_BUCKETS)
        self._provider = MeterProvider(
            readers,
            resource,
            shutdown_on_exit=False,
            views=[View(instrument_type=Histogram, instrument_unit="s", aggregation=buckets)],
        )
        self._meter = self._provider.get_meter("cloudia", __version__)
        self._instruments: dict[str, Any] = {}
        measured = {
            "process.cpu.time": _cpu,
            "process.memory.usage": _memory,
            "cloudia.telemetry.dropped": lambda _options: [Observation(dropped())],
        }
        for name, row in names.METRICS.items():
            if name in measured or row.kind == "gauge":
                kind = f"observable_{row.kind}"
                told: dict[str, Any] = {"callbacks": [measured.get(name) or self._reader(name)]}
            else:
                kind, told = row.kind, {}
            make = getattr(self._meter, f"create_{kind}")
            self._instruments[name] = make(name, unit=row.unit, description=row.doc, **told)
        self._told: dict[type[Happening], Callable[[Any], None]] = {
            JobAccepted: self._accepted,
            JobLeased: self._leased,
            ProviderCalled: self._called,
            AttemptFailed: self._failed,
            JobEnded: self._ended,
            FramePushed: self._pushed,
            FrameDelivered: self._delivered,
            BreakerChanged: self._breaker,
            RouteSkipped: self._skipped,
            WorkerSampled: self._worker,
            QueueSampled: self._queue,
            GatewaySampled: lambda event: self._set("cloudia.connections.open", event.connections),
            ConnectionOpened: self._opened,
            ConnectionEnded: lambda event: self._set("cloudia.connections.open", event.connections),
        }

    def __call__(self, event: Happening) -> None:
        """Count an event."""
        tell = self._told.get(type(event))
        if tell:
            tell(event)

    def close(self) -> None:
        """Send what is left; what cannot be sent is dropped by the exporters, which wait 10 s at most."""
        self._provider.shutdown()

    # --- instruments -----------------------------------------------------------------------------------------------

    def _add(self, name: str, attributes: Mapping[str, str | bool] | None = None) -> None:
        self._instruments[name].add(1, attributes)

    def _record(self, name: str, value: float, attributes: Mapping[str, str] | None = None) -> None:
        self._instruments[name].record(value, attributes)

    def _set(self, name: str, value: float, attributes: Mapping[str, str] | None = None) -> None:
        key = tuple(sorted((attributes or {}).items()))
        self._gauges.setdefault(name, {})[key] = (value, time.monotonic())

    def _reader(self, name: str) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def read(_options: CallbackOptions) -> Iterator[Observation]:
            oldest = time.monotonic() - _FRESH_SECONDS
            for attributes, (value, at) in list(self._gauges.get(name, {}).items()):
                if at > oldest:
                    yield Observation(value, dict(attributes))

        return read

    # --- what happens ----------------------------------------------------------------------------------------------

    def _accepted(self, event: JobAccepted) -> None:
        if not event.again:
            self._add("cloudia.jobs.accepted")

    def _leased(self, event: JobLeased) -> None:
        if event.job.attempt == 1:
            self._record("cloudia.queue.wait", max(0.0, event.at - event.seconds - event.accepted_at))

    def _called(self, event: ProviderCalled) -> None:
        what = {names.OPERATION: "chat", names.PROVIDER: event.provider, names.MODEL: event.model}
        failed = {names.ERROR: event.error} if event.error else {}
        self._record("gen_ai.client.operation.duration", event.seconds, {**what, **failed})
        if event.first_piece_seconds is not None:
            self._record("gen_ai.client.operation.time_to_first_chunk", event.first_piece_seconds, what)
        for kind, tokens in (("input", event.input_tokens), ("output", event.output_tokens)):
            if tokens is not None:
                self._record("gen_ai.client.token.usage", tokens, {**what, names.TOKEN_TYPE: kind})

    def _failed(self, event: AttemptFailed) -> None:
        self._add("cloudia.attempts.failed", {names.ERROR: event.code, names.OUTCOME: event.decision.lower()})

    def _ended(self, event: JobEnded) -> None:
        how = {names.STATUS: event.status, **({names.ERROR: event.code} if event.code else {})}
        self._add("cloudia.jobs.ended", how)
        self._record("cloudia.job.duration", max(0.0, event.at - event.accepted_at), how)

    def _pushed(self, event: FramePushed) -> None:
        refused = {names.REFUSED: event.refused} if event.refused else {}
        self._add("cloudia.frames.logged", {names.FRAME: event.kind, **refused})
        if event.kind in TERMINAL_EVENTS:
            self._record("cloudia.frames.log.duration", event.seconds)

    def _delivered(self, event: FrameDelivered) -> None:
        self._add(
            "cloudia.frames.delivered", {names.FRAME: event.kind if event.kind and event.kind in EVENTS else "other"}
        )
        if event.replayed:
            self._add("cloudia.frames.replayed")
            return
        logged_at = int(event.event_id.partition("-")[0]) / 1000
        self._record("cloudia.frames.lag", max(0.0, event.at - logged_at))

    def _breaker(self, event: BreakerChanged) -> None:
        route = {names.PROVIDER: event.provider, names.MODEL: event.model}
        self._add("cloudia.breaker.changes", {**route, names.BREAKER_STATE: event.state})
        self._set("cloudia.breaker.state", names.BREAKER_STATES[event.state], route)

    def _skipped(self, event: RouteSkipped) -> None:
        route = {names.PROVIDER: event.provider, names.MODEL: event.model}
        self._add("cloudia.llm.rejections", {**route, names.REASON: event.reason})

    def _worker(self, event: WorkerSampled) -> None:
        self._set("cloudia.worker.jobs", event.in_work)
        for each in event.routes:
            route = {names.PROVIDER: each.provider, names.MODEL: each.model}
            self._set("cloudia.breaker.state", names.BREAKER_STATES[each.state], route)
            self._set("cloudia.breaker.errors", each.errors, route)

    def _queue(self, event: QueueSampled) -> None:
        queue = {names.DESTINATION: event.queue}
        self._set("cloudia.queue.visible", event.visible, queue)
        self._set("cloudia.queue.in_flight", event.in_flight, queue)
        self._set("cloudia.queue.dead_letters", event.dead_letters, queue)
        self._set("cloudia.queue.oldest.age", event.oldest_seconds, queue)

    def _opened(self, event: ConnectionOpened) -> None:
        self._add("cloudia.connections.opened", {names.RESUMED: event.resumed})
        self._set("cloudia.connections.open", event.connections)


def _cpu(_options: CallbackOptions) -> Iterator[Observation]:
    spent = os.times()
    yield Observation(spent.user, {names.CPU_MODE: "user"})
    yield Observation(spent.system, {names.CPU_MODE: "system"})


def _memory(_options: CallbackOptions) -> Iterator[Observation]:
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return
    yield Observation(pages * os.sysconf("SC_PAGE_SIZE"))
