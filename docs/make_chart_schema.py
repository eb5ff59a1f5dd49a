"""Make `values.schema.json` of the chart: its own values by hand, `settings` from the one list of settings.

    python docs/make_chart_schema.py

Helm refuses by it what is not known, before anything is installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cloudia.settings import SETTINGS, Setting, dotted

SCHEMA = Path(__file__).parents[1] / "deploy" / "helm" / "cloudia" / "values.schema.json"

_OF_THE_CHART = frozenset(
    {
        *("stack_name", "aws_region", "aws_endpoint_url", "redis_url"),
        *("worker_probe_host", "worker_probe_port", "worker_grace_seconds", "gateway_host", "gateway_port"),
    }
)
"""Settings that the chart gives from values of its own, or that are secrets."""
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}

_TEXT: dict[str, Any] = {"type": "string"}
_ANY_MAP: dict[str, Any] = {"type": "object"}
_ANY_LIST: dict[str, Any] = {"type": "array"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _whole(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


def _setting(setting: Setting) -> dict[str, Any]:
    """Return the schema of a setting's value."""
    schema: dict[str, Any] = {"type": _TYPES[setting.kind], "description": setting.doc}
    if setting.low is not None:
        schema |= {"minimum": setting.low, "maximum": setting.high}
    if setting.choices:
        schema["enum"] = list(setting.choices)
    if setting.pattern:
        schema["pattern"] = f"^(?:{setting.pattern})$"
    return schema


def _settings() -> dict[str, Any]:
    """Return the schema of the settings that the worker or the gateway reads, by table."""
    tables: dict[str, dict[str, Any]] = {}
    for name, setting in SETTINGS.items():
        if {"worker", "gateway"} & set(setting.readers) and not setting.secret and name not in _OF_THE_CHART:
            table, key = dotted(name).split(".")
            tables.setdefault(table, {})[key] = _setting(setting)
    return _object(**{table: _object(**keys) for table, keys in tables.items()})


def _part(**own: Any) -> dict[str, Any]:
    """Return the schema of what worker and gateway have in common, and of what is a part's own."""
    return _object(
        replicas=_whole(0, 1000),
        serviceAccount=_object(annotations=_ANY_MAP),
        resources=_ANY_MAP,
        disruptionBudget=_ANY_MAP,
        podAnnotations=_ANY_MAP,
        nodeSelector=_ANY_MAP,
        tolerations=_ANY_LIST,
        affinity=_ANY_MAP,
        **own,
    )


def schema() -> dict[str, Any]:
    """Return the schema of the chart's values."""
    return {
        "$schema": "https://json-schema.org/draft-07/schema#",
        **_object(
            image=_object(
                repository=_TEXT,
                tag=_TEXT,
                pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
                pullSecrets=_ANY_LIST,
            ),
            stack=_object(name={"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, region=_TEXT, endpoint=_TEXT),
            settings=_settings(),
            secrets=_object(
                existingSecret=_TEXT,
                external=_object(
                    store=_TEXT,
                    storeKind={"enum": ["SecretStore", "ClusterSecretStore"]},
                    refreshInterval=_TEXT,
                    keys={"type": "object", "additionalProperties": _TEXT},
                ),
            ),
            worker=_part(
                graceSeconds=_whole(0, 900),
                scaling=_object(
                    enabled={"type": "boolean"},
                    min=_whole(0, 1000),
                    max=_whole(1, 1000),
                    messagesPerWorker=_whole(1, 2000),
                    cooldownSeconds=_whole(0, 3600),
                ),
            ),
            gateway=_part(
                drainSeconds=_whole(0, 300),
                service=_object(
                    type={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
                    port=_whole(1, 65535),
                    annotations=_ANY_MAP,
                ),
                ingress=_object(
                    enabled={"type": "boolean"}, className=_TEXT, host=_TEXT, annotations=_ANY_MAP, tlsSecret=_TEXT
                ),
            ),
            extraEnv=_ANY_LIST,
            **{"global": _ANY_MAP},
        ),
    }


def text() -> str:
    """Return the schema as it stands in the file."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text(), encoding="utf-8")
