"""What OpenTelemetry is told of a process: spans, metrics and log lines. It is the extra `otel`; nothing else imports it.

Where they go, how they are sampled and what else OpenTelemetry's variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, …) is for its SDK to read:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from cloudia.telemetry.log_records import LogRecords
from cloudia.telemetry.logs import line_form
from cloudia.telemetry.metrics import Metrics
from cloudia.telemetry.resources import resource_of
from cloudia.telemetry.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry.sdk.metrics.export import MetricReader

    from cloudia.telemetry.events import Happening

__all__ = ["Exporter"]


class Exporter:
    """A listener: tell it what happens on one thread, and `close` it with what is left.

    `signals` are those that go by OTLP, of `traces`, `metrics` and `logs`; `reader` is one more that reads the metrics.
    """

    def __init__(
        self,
        part: str,
        signals: Collection[str],
        *,
        stack: str,
        queue: str,
        slow_seconds: float,
        reader: MetricReader | None = None,
    ) -> None:
        resource = resource_of(part, stack)
        readers = [reader] if reader else []
        if "metrics" in signals:
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        self._tellers: list[Spans | Metrics] = []
        if "traces" in signals:
            self._tellers.append(Spans(resource, queue=queue, slow_seconds=slow_seconds))
        if readers:
            self._tellers.append(Metrics(readers, resource))
        self._records = LogRecords(resource, line_form()) if "logs" in signals else None
        if self._records:
            logging.getLogger().addHandler(self._records)

    def __call__(self, event: Happening) -> None:
        """Make of an event what it is a span or a number of."""
        for tell in self._tellers:
            tell(event)

    def close(self) -> None:
        """Send what is left; what cannot be sent is dropped."""
        for teller in self._tellers:
            teller.close()
        if self._records:
            logging.getLogger().removeHandler(self._records)
            self._records.close()
