"""Which listeners a process has: the user's own, OpenTelemetry where its variables ask for it, and what Prometheus reads."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from cloudia.telemetry.listeners import listen, load_listener
from cloudia.telemetry.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.telemetry.listeners import Listener

__all__ = ["start_listening"]


def start_listening(
    part: str, *, listener: str, stack: str, queue: str, slow_seconds: float, prometheus: bool = False
) -> Callable[[], bytes] | None:
    """Tell `listener` (`module:function`, or nothing) what happens in this part, and OpenTelemetry.

    Return what makes the text that Prometheus reads, where it is to. `UsageError` where there is no such listener.
    """
    listeners: list[Listener] = [load_listener(listener)] if listener else []
    signals = {signal for signal in ("traces", "metrics", "logs") if _is_asked_for(signal)}
    exposition = None
    if signals or prometheus:
        try:
            from cloudia.telemetry.otel import Exporter  # noqa: PLC0415 - a tenth of a second, where it is wanted

            if prometheus:
                from cloudia.telemetry.exposition import Exposition  # noqa: PLC0415

                exposition = Exposition()
        except ImportError:
            extra = "prometheus" if prometheus else "otel"
            log("telemetry is not sent", level=logging.WARNING, hint=f"pip install 'cloudia-chat[{extra}]'")
        else:
            reader = exposition.reader if exposition else None
            listeners.append(
                Exporter(part, signals, stack=stack, queue=queue, slow_seconds=slow_seconds, reader=reader)
            )
    if listeners:
        listen(*listeners)
    return exposition


def _is_asked_for(signal: str) -> bool:
    """Tell whether a signal is to be sent by OTLP: an endpoint is named. Logs are sent where their variable says so."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    if signal == "logs":
        return exporter == "otlp"
    named = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{each}ENDPOINT") for each in ("", f"{signal.upper()}_"))
    return named and exporter in {"", "otlp"}
