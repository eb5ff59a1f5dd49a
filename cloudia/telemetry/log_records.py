"""Log lines as records of OpenTelemetry, by OTLP over HTTP. Part of the extra `otel`.

A record says what the line says and no more: it is made of the line, after its secrets are out.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from cloudia import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

__all__ = ["LogRecords"]

_SENDERS = ("opentelemetry", "urllib3", "requests")
"""What sends may log that it cannot: sent on, that would never end."""
_SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
_NOT_ATTRIBUTES = frozenset({"time", "level", "event", "trace_id", "span_id"})
"""What a record has fields of its own for."""


class LogRecords(logging.Handler):
    """A handler beside the one that writes the lines, which has their form."""

    def __init__(self, resource: Resource, lines: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(lines)
        self._provider = LoggerProvider(resource, shutdown_on_exit=False)
        self._provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
        self._logger = self._provider.get_logger("cloudia", __version__)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line on; never blocks, drops what finds no room."""
        if record.name.startswith(_SENDERS):
            return
        with suppress(Exception):  # The line itself is written by the other handler.
            self._send(json.loads(self.format(record)), round(record.created * 1e9))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
        super().close()

    def _send(self, line: dict[str, Any], at: int) -> None:
        level, event = str(line["level"]), str(line["event"])
        self._logger.emit(
            timestamp=at,
            observed_timestamp=at,
            context=_context(line),
            severity_number=_SEVERITIES.get(level, SeverityNumber.UNSPECIFIED),
            severity_text=level.upper(),
            body=event,
            event_name=event if "logger" not in line else None,
            attributes={name: _value(value) for name, value in line.items() if name not in _NOT_ATTRIBUTES},
        )


def _value(value: Any) -> Any:
    return value if isinstance(value, str | bool | int | float) else json.dumps(value, ensure_ascii=False)


def _context(line: dict[str, Any]) -> Context:
    """Return the context of the span that a line belongs to, an empty one where it says none."""
    try:
        span = SpanContext(
            int(line["trace_id"], 16), int(line["span_id"], 16), is_remote=True, trace_flags=TraceFlags(1)
        )
    except (KeyError, ValueError):
        return Context()
    return trace.set_span_in_context(NonRecordingSpan(span), Context())
