"""A collector that runs as a child process, and requests to it."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from cloudia.sim.ports import choose_port
from tests.patience import HANGS
from tests.support import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["PROTOBUF", "TOKEN", "TRACE_ID", "Running", "request_of", "running", "span"]

TOKEN = "a-token-of-the-collector"
PROTOBUF = {"content-type": "application/x-protobuf"}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Running:
    """A collector, its files, and a client that bears its token."""

    url: str
    store: Path
    log: Path
    http: httpx2.Client
    pid: int

    def post(self, body: bytes, signal: str = "traces", **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"/v1/{signal}", content=body, headers={**PROTOBUF, **named})

    def names(self, trace_id: str = TRACE_ID) -> list[str]:
        """Return the names of the spans of a trace."""
        found = self.http.get(f"/traces/{trace_id}")
        if found.status_code == 404:
            return []
        resources = found.raise_for_status().json()["resourceSpans"]
        return [span["name"] for resource in resources for scope in resource["scopeSpans"] for span in scope["spans"]]

    def headers(self) -> str:
        """Return what `OTEL_EXPORTER_OTLP_HEADERS` is for it."""
        return f"authorization=Bearer%20{TOKEN}"


@contextmanager
def running(
    store: Path, *, size: int = 2**26, seconds: float = 3600.0, variables: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run a collector until the block ends."""
    port, log = choose_port(), store.with_suffix(".log")
    command = [sys.executable, "-m", "cloudia.sim.collector", "--port", str(port), "--store", str(store)]
    command += ["--bytes", str(size), "--seconds", str(seconds)]
    environment = clean_environment(CLOUDIA_COLLECTOR_TOKEN=TOKEN, **(variables or {}))
    url = f"http://127.0.0.1:{port}"
    with (
        log.open("ab") as out,
        httpx2.Client(
            base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=HANGS, trust_env=False
        ) as http,
    ):
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            _wait(process, http, log)
            yield Running(url, store, log, http, process.pid)
        finally:
            process.terminate()
            process.wait(HANGS)


def _wait(process: subprocess.Popen[bytes], http: httpx2.Client, log: Path) -> None:
    deadline = time.monotonic() + HANGS
    while True:
        try:
            http.get("/health").raise_for_status()
        except httpx2.HTTPError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return


def span(request: ExportTraceServiceRequest, name: str = "work", number: int = 1, trace_id: str = TRACE_ID) -> Span:
    """Add a span to a request, whose first resource and scope are made with the first one."""
    if not request.resource_spans:
        request.resource_spans.add().resource.attributes.add(key="service.name").value.string_value = "test"
    resource = request.resource_spans[0]
    scope = resource.scope_spans[0] if resource.scope_spans else resource.scope_spans.add()
    return scope.spans.add(
        trace_id=bytes.fromhex(trace_id),
        span_id=number.to_bytes(8),
        name=name,
        start_time_unix_nano=1_700_000_000_000_000_000,
        end_time_unix_nano=1_700_000_001_000_000_000,
    )


def request_of(*names: str, trace_id: str = TRACE_ID, first: int = 1) -> bytes:
    """Return a request with spans of these names."""
    request = ExportTraceServiceRequest()
    for number, name in enumerate(names, first):
        span(request, name, number, trace_id)
    return request.SerializeToString()
