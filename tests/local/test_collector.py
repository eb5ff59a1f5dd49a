"""Whether a stack has a collector, and what its parts are told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudia.errors import UsageError
from cloudia.local import collector
from cloudia.local.collector import has_collector, sending_to
from cloudia.settings import Settings

URL = "http://127.0.0.1:4318"


@pytest.mark.parametrize(
    ("word", "variables", "has"),
    [
        ("auto", {}, True),
        ("auto", {"OTEL_SDK_DISABLED": "TRUE"}, False),
        ("on", {"OTEL_SDK_DISABLED": "true"}, True),
        ("off", {}, False),
    ],
)
def test_whether_there_is_one(word: str, variables: dict[str, str], has: bool) -> None:
    """A word of the user's goes before what OpenTelemetry's variables say."""
    assert has_collector(replace(Settings(), up_otel=word), variables) is has


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none; who asks for one is told what to install."""
    monkeypatch.setattr(collector, "find_spec", lambda _name: None)
    assert not has_collector(Settings(), {})
    with pytest.raises(UsageError, match="not installed") as refused:
        has_collector(replace(Settings(), up_otel="on"), {})
    assert "pip install" in refused.value.hint


def test_parts_send_to_it_alone() -> None:
    """Where the user's own backend is, and its key, are the collector's; what is sent is as the user says."""
    user = {
        "PATH": "/bin",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://backend.example",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://backend.example/traces",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_SERVICE_NAME": "mine",
    }
    sent = sending_to(user, URL, "token")
    assert sent == {
        "PATH": "/bin",
        "OTEL_EXPORTER_OTLP_ENDPOINT": URL,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20token",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_SERVICE_NAME": "mine",
    }


def test_they_send_past_a_proxy() -> None:
    """A proxy of the shell's cannot reach this machine; what the shell leads past it stays so."""
    sent = sending_to({"HTTP_PROXY": "http://proxy", "NO_PROXY": "intern.example"}, URL, "token")
    assert sent["NO_PROXY"] == sent["no_proxy"] == "intern.example,127.0.0.1"
    assert "NO_PROXY" not in sending_to({}, URL, "token")
