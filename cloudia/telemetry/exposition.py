"""What Prometheus reads: the metrics of this process as text. Part of the extra `prometheus`.

OpenTelemetry's own exporter translates them, so that they are the same instruments, and the same names, as by OTLP.
"""

from __future__ import annotations

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import CollectorRegistry, generate_latest

__all__ = ["CONTENT_TYPE", "Exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition:
    """Reads metrics when it is called. It has a registry of its own: nothing of another library's is shown."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.reader = PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)

    def __call__(self) -> bytes:
        """Return the text. Blocks for as long as a process has metrics to count: milliseconds."""
        return generate_latest(self._registry)
