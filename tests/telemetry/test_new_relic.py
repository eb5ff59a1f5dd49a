"""The profile of docs/observability.md for New Relic, against a receiver that holds its limits."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support import Cloud, eventually
from tests.telemetry.receiver import NEW_RELIC_KEY, receiving, told
from tests.worker.working import accept, ended, worker

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
QUICKLY = {
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_BSP_SCHEDULE_DELAY": "50",
    "OTEL_BLRP_SCHEDULE_DELAY": "50",
    "OTEL_METRIC_EXPORT_INTERVAL": "200",
}


def profile(url: str) -> dict[str, str]:
    """Return what the page says, for a receiver at `url`."""
    (block,) = re.findall(r"New Relic:\n\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    said = dict(line.partition(" ")[0].split("=", 1) for line in block.splitlines())
    assert said["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://otlp.nr-data.net"
    said["OTEL_EXPORTER_OTLP_HEADERS"] = said["OTEL_EXPORTER_OTLP_HEADERS"].replace("YOUR_LICENSE_KEY", NEW_RELIC_KEY)
    return {**said, "OTEL_EXPORTER_OTLP_ENDPOINT": url}


async def test_the_profile_is_taken(cloud: Cloud, tmp_path: Path) -> None:
    """A worker with it has none of its spans, metrics and log lines refused."""
    with receiving(as_new_relic=True) as receiver:
        async with worker(cloud, tmp_path, **profile(receiver.url), **QUICKLY):
            jobs = [accept(cloud, f"[[words:3]] {number}", session="ses_relic") for number in range(20)]
            for job in jobs:
                await ended(cloud, job)
            await eventually(lambda: sum(span.name == "record" for _, span in receiver.spans) == len(jobs))
            await eventually(lambda: sum(record.event_name == "job ended" for record in receiver.records) == len(jobs))
            await eventually(lambda: "cloudia.jobs.ended" in receiver.metrics)
    assert receiver.refused == []
    assert {headers["content-encoding"] for headers in receiver.headers} == {"gzip"}
    assert all(len(str(value)) <= 4095 for _, span in receiver.spans for value in told(span.attributes).values())


@pytest.mark.parametrize(
    ("key", "attribute", "spans", "status"),
    [
        ("wrong", 1, 1, 403),
        (NEW_RELIC_KEY, 4096, 1, 400),
        (NEW_RELIC_KEY, 4000, 300, 413),
        (NEW_RELIC_KEY, 4095, 1, 200),
    ],
)
def test_the_receiver_holds_the_limits(key: str, attribute: int, spans: int, status: int) -> None:
    """It refuses another key, a longer attribute and a larger request, and takes what is within."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "s"
    scope = resource.scope_spans.add()
    for _ in range(spans):
        scope.spans.add(name="x").attributes.add(key="long").value.string_value = "a" * attribute
    with receiving(as_new_relic=True) as receiver:
        sent = urllib.request.Request(
            f"{receiver.url}/v1/traces", data=request.SerializeToString(), headers={"api-key": key}, method="POST"
        )
        assert answered(sent) == status


def answered(request: urllib.request.Request) -> int:
    """Return the status of an answer."""
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
