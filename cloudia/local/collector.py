"""The collector of a local stack: whether there is one, its part, what is sent to it, and how it is asked for a trace."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cloudia.errors import UsageError
from cloudia.local.exported import without_exported
from cloudia.sim.ports import LOOPBACK
from cloudia.sim.probes import get_json, http_answers
from cloudia.sim.spec import PartSpec, environment_of_others, python_module

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudia.local.project import Project
    from cloudia.local.run_file import PlannedRun
    from cloudia.settings import Settings

__all__ = ["collected", "collector_part", "has_collector", "is_installed", "sending_to", "variables_for"]

_PREFIX = "OTEL_EXPORTER_OTLP_"
_HOW = frozenset(
    {
        f"{_PREFIX}METRICS_TEMPORALITY_PREFERENCE",
        f"{_PREFIX}METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
    }
)
"""Those of the exporters' variables that say what is sent, and not where to."""
_SOON = {"OTEL_BSP_SCHEDULE_DELAY": "500"}
"""Milliseconds that spans wait to be sent together: a trace is asked for as soon as its message is answered."""
_PROXIES = frozenset({"http_proxy", "all_proxy"})


def has_collector(settings: Settings, variables: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a stack has a collector. `UsageError` where it is to, and cannot.

    Where nothing else is said it has one if OpenTelemetry's packages are installed, and its variables do not switch it off.
    """
    installed = is_installed()
    if settings.up_otel == "on" and not installed:
        raise UsageError(
            "OpenTelemetry's packages are not installed", hint="pip install 'cloudia-chat[otel]', or --otel off."
        )
    if settings.up_otel == "auto":
        return installed and variables.get("OTEL_SDK_DISABLED", "").lower() != "true"
    return settings.up_otel == "on"


def is_installed() -> bool:
    """Tell whether OpenTelemetry's packages are installed."""
    try:
        return bool(find_spec("opentelemetry.proto.collector") and find_spec("opentelemetry.sdk"))
    except ModuleNotFoundError:
        return False


def collector_part(settings: Settings, store: Path, *, port: int, token: str) -> PartSpec:
    """Return the part. What comes to it goes on to where the user's own variables of OpenTelemetry say."""
    url = f"http://{LOOPBACK}:{port}"
    command = python_module("cloudia.sim.collector", "--port", str(port), "--store", str(store))
    command += ["--bytes", str(settings.collector_bytes), "--seconds", str(settings.collector_seconds)]
    others = {name: value for name, value in environment_of_others().items() if not name.startswith("OTEL_")}
    own = {name: value for name, value in without_exported(os.environ).items() if name.startswith(_PREFIX)}
    return PartSpec(
        "collector",
        command,
        {**others, **own, "CLOUDIA_COLLECTOR_TOKEN": token, "PYTHONUNBUFFERED": "1"},
        lambda _pid: http_answers(f"{url}/health"),
        url,
    )


def variables_for(url: str, token: str) -> dict[str, str]:
    """Return OpenTelemetry's variables with which any program sends to a collector."""
    return {
        f"{_PREFIX}ENDPOINT": url,
        f"{_PREFIX}HEADERS": f"authorization=Bearer%20{token}",
        f"{_PREFIX}PROTOCOL": "http/protobuf",
    }


def sending_to(environment: Mapping[str, str], url: str, token: str) -> dict[str, str]:
    """Return a part's environment with which it sends to a collector, past any proxy, and nowhere else."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_PREFIX) or name in _HOW}
    return {**_SOON, **kept, **variables_for(url, token), **_past_proxies(environment)}


def _past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what leads past the proxies of an environment to this machine; nothing where there is none."""
    if not any(value for name, value in environment.items() if name.lower() in _PROXIES):
        return {}
    named = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    around = ",".join(filter(None, [named, LOOPBACK]))
    return {"no_proxy": around, "NO_PROXY": around}


def collected(project: Project, run: PlannedRun, trace_id: str) -> dict[str, Any] | None:
    """Return what the collector of a stack that runs has of a trace, as OTLP JSON; None where it has nothing, or is away."""
    if "collector" not in run.parts or not trace_id:
        return None
    try:
        found = get_json(f"{run.urls.collector_url}/traces/{trace_id}", token=project.secrets().collector)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
