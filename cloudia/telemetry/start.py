"""Which listeners a process has: the user's own, and OpenTelemetry where its variables name an endpoint."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from cloudia.telemetry.listeners import listen, load_listener
from cloudia.telemetry.logs import log

if TYPE_CHECKING:
    from cloudia.telemetry.listeners import Listener

__all__ = ["start_listening"]

_ENDPOINTS = tuple(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in ("", "TRACES_", "METRICS_"))


def start_listening(part: str, *, listener: str, stack: str, queue: str) -> None:
    """Tell `listener` (`module:function`, or nothing) what happens in this part, and OpenTelemetry.

    `UsageError` where there is no such listener.
    """
    listeners: list[Listener] = [load_listener(listener)] if listener else []
    if _is_asked_for():
        try:
            from cloudia.telemetry.otel import Exporter  # noqa: PLC0415 - a tenth of a second, where it is wanted
        except ImportError:
            hint = "pip install 'cloudia-chat[otel]'"
            log("no spans are sent: OpenTelemetry is not installed", level=logging.WARNING, hint=hint)
        else:
            listeners.append(Exporter(part, stack=stack, queue=queue))
    if listeners:
        listen(*listeners)


def _is_asked_for() -> bool:
    """Tell whether spans and metrics are to be sent: an endpoint is named."""
    named = any(os.environ.get(name) for name in _ENDPOINTS)
    return named and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
