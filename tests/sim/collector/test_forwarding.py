"""What the collector sends on: to the backend of OpenTelemetry's variables, without holding anybody up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cloudia.sim.collector.targets import targets
from tests.sim.collector.running import TRACE_ID, request_of, running
from tests.support import eventually
from tests.telemetry.receiver import receiving

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_all_of_it_goes_on(tmp_path: Path, compression: str) -> None:
    """Spans and metrics, with the user's headers and not with the collector's token."""
    with receiving() as backend:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b",
            "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        }
        with running(tmp_path / "spans.sqlite", variables=variables) as collector:
            assert collector.post(request_of("on")).status_code == 200
            await eventually(lambda: backend.of_trace(TRACE_ID))
            assert collector.names() == ["on"]
        (headers,) = backend.headers
        assert headers["api-key"] == "a b"
        assert "authorization" not in headers


async def test_a_backend_that_is_away_holds_nobody_up(tmp_path: Path) -> None:
    """Each request is answered at once and kept here; what fails is told once, without where it goes to."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9/secret"}
    with running(tmp_path / "spans.sqlite", variables=variables) as collector:
        began = time.monotonic()
        for number in range(1, 300):
            assert collector.post(request_of("kept", first=number)).status_code == 200
        assert len(collector.names()) == 299
        assert time.monotonic() - began < 30  # With waits for the backend these would be minutes.
        await eventually(lambda: "nothing is forwarded" in collector.log.read_text())
        assert "secret" not in collector.log.read_text()


async def test_a_backend_that_is_busy_gets_it_again(tmp_path: Path) -> None:
    """503 is tried again, as the specification says."""
    with receiving() as backend:
        backend.status = 503
        with running(tmp_path / "spans.sqlite", variables={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as collector:
            assert collector.post(request_of("later")).status_code == 200
            await eventually(lambda: backend.headers)
            backend.status = 200
            await eventually(lambda: backend.of_trace(TRACE_ID))


def test_targets() -> None:
    """The variables of one signal go before those of all; what is no URL is no target."""
    found = targets(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://all.example/base/",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=1, b = x%2Cy ,broken",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://metrics.example/as/it/is",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "unix:///socket",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
        }
    )
    assert found.keys() == {"traces", "metrics"}
    assert found["traces"].url == "https://all.example/base/v1/traces"
    assert found["metrics"].url == "https://metrics.example/as/it/is"
    assert found["traces"].headers == {"a": "1", "b": "x,y"}
    assert (found["traces"].gzip, found["metrics"].gzip) == (True, False)
    assert targets({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[broken"}) == {}
