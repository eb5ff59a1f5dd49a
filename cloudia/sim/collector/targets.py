"""Where OpenTelemetry's variables say that signals go on to, and with which headers. No I/O.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cloudia.sim.collector.decoding import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Target", "targets"]

_PREFIX = "OTEL_EXPORTER_OTLP_"


@dataclass(frozen=True, slots=True)
class Target:
    """Where one signal goes."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    gzip: bool
    certificate: str
    """A file of authorities to trust in place of the machine's; empty is those."""


def targets(variables: Mapping[str, str]) -> dict[str, Target]:
    """Return the target of each signal that has one; what is no URL of HTTP is none."""
    found = {signal: _target(variables, signal) for signal in SIGNALS}
    return {signal: target for signal, target in found.items() if target}


def _target(variables: Mapping[str, str], signal: str) -> Target | None:
    def said(name: str) -> str:
        return variables.get(f"{_PREFIX}{signal.upper()}_{name}") or variables.get(f"{_PREFIX}{name}") or ""

    base = variables.get(f"{_PREFIX}ENDPOINT", "")
    url = variables.get(f"{_PREFIX}{signal.upper()}_ENDPOINT") or (base and f"{base.rstrip('/')}/v1/{signal}")
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return Target(url, _headers(said("HEADERS")), said("COMPRESSION").lower() == "gzip", said("CERTIFICATE"))


def _headers(text: str) -> dict[str, str]:
    """Return `name=value,name=value` as a mapping; values are percent-encoded."""
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs if name.strip()}
