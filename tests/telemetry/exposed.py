"""The names under which Prometheus sees the metrics of the table."""

from __future__ import annotations

from cloudia.telemetry.conventions import METRICS

__all__ = ["exposed"]

_UNITS = {"s": "_seconds", "By": "_bytes"}
_PARTS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def exposed() -> dict[str, frozenset[str]]:
    """Return each name with the labels that it may have.

    https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
    """
    found = {}
    for name, row in METRICS.items():
        labels = frozenset(each.replace(".", "_") for each in row.attributes)
        for part in _PARTS[row.kind]:
            own = f"{name.replace('.', '_')}{_UNITS.get(row.unit, '')}{part}"
            found[own] = labels | {"le"} if part == "_bucket" else labels
    return found
