"""What a process tells of its work: log lines, what happens to whoever listens, and the trace context that ties it together."""

from cloudia.telemetry.listeners import Listener, flush, listen, listening, load_listener, notify, stop_listening
from cloudia.telemetry.logs import bound, configure_logs, log
from cloudia.telemetry.scrubber import keep_secrets
from cloudia.telemetry.start import start_listening
from cloudia.telemetry.traceparent import attempt_span_id, new_traceparent, span_id, trace_id

__all__ = [
    "Listener",
    "attempt_span_id",
    "bound",
    "configure_logs",
    "flush",
    "keep_secrets",
    "listen",
    "listening",
    "load_listener",
    "log",
    "new_traceparent",
    "notify",
    "span_id",
    "start_listening",
    "stop_listening",
    "trace_id",
]
