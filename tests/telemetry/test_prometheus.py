"""What Prometheus reads of worker and gateway, parsed by Prometheus' own library."""

from __future__ import annotations

import asyncio
import http.client
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.nodes import append, frames_until, greet, log_of, opened, running
from tests.support import Cloud, RunningStack, eventually, make_cloud
from tests.telemetry.exposed import exposed
from tests.worker.working import accept, ended, fault, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def asked(port: int, path: str = "/metrics", host: str = "localhost") -> tuple[int, str]:
    """Return a status and a text; 0 where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def samples(port: int) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """Return what is read: values by name and labels."""
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(asked(port)[1]):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def value(port: int, name: str, **labels: str) -> float:
    """Return the sum of what bears these labels, 0 where nothing does."""
    wanted = frozenset(labels.items())
    return sum(value for own, value in samples(port).get(name, {}).items() if wanted <= own)


async def test_a_counter_rises_by_an_answered_message(stack: RunningStack, tmp_path: Path) -> None:
    """A worker's text is Prometheus'; what is answered, tried again and dead is counted, what waits is told."""
    cloud, port = make_cloud(stack, llm_model="sim-metrics"), free_port()
    variables = {"CLOUDIA_TELEMETRY_PROMETHEUS": "true", "CLOUDIA_WORKER_PROBE_PORT": str(port)}
    async with worker(cloud, tmp_path, **variables):
        await eventually(lambda: value(port, "cloudia_worker_jobs") == 0 and asked(port, "/ready")[0] == 200)
        done = partial(value, port, "cloudia_jobs_ended_total", cloudia_job_status="done")
        await ended(cloud, accept(cloud, "[[words:5]]", session="ses_metrics"))
        await eventually(lambda: done() == 1)
        await ended(cloud, accept(cloud, "[[words:5]]", session="ses_metrics"))
        await eventually(lambda: done() == 2)
        fault(stack, kind="cut", after_tokens=2, count=1, model="sim-metrics")
        await ended(cloud, accept(cloud, "[[words:5]]", session="ses_metrics"))
        await eventually(lambda: value(port, "cloudia_attempts_failed_total", cloudia_attempt_outcome="retry") == 1)
        await eventually(lambda: done() == 3)
        await eventually(lambda: "cloudia_queue_visible" in samples(port))
        found = samples(port)
        assert found["cloudia_breaker_state"] == {
            frozenset({("gen_ai_provider_name", "openai"), ("gen_ai_request_model", "sim-metrics")}): 0.0
        }
        assert value(port, "cloudia_frames_logged_total", cloudia_frame_type="done") == 3
        assert {"cloudia_queue_in_flight", "cloudia_queue_dead_letters", "cloudia_queue_oldest_age_seconds"} <= set(
            found
        )
        assert value(port, "process_cpu_time_seconds_total") > 0
        assert 1e7 < value(port, "process_memory_usage_bytes") < 1e9
        assert set(found) - {"target_info"} <= exposed().keys()
        for name, labels in exposed().items():
            assert all({label for label, _ in each} <= labels for each in found.get(name, ()))
        assert asked(port, host="evil.example") == (403, '{"status": "not_local"}')


async def test_a_gateway_tells_its_connections_and_frames(cloud: Cloud, tmp_path: Path) -> None:
    """On a port of its own, which clients do not see; what a client was handed is told apart from what it missed."""
    port = free_port()
    variables = {"CLOUDIA_TELEMETRY_PROMETHEUS": "true", "CLOUDIA_GATEWAY_PROBE_PORT": str(port)}
    async with (
        running(cloud, tmp_path / "gateway.log", **variables) as node,
        log_of(cloud.settings) as log,
        opened(node) as socket,
    ):
        ready = await greet(socket, cloud.token())
        ids = await append(log, ready["session_id"], ["one", "two"])
        await frames_until(socket, ids[-1])
        await eventually(lambda: value(port, "cloudia_frames_delivered_total", cloudia_frame_type="delta") == 2)
        assert value(port, "cloudia_connections_open") == 1
        assert value(port, "cloudia_connections_opened_total", cloudia_connection_resumed="false") == 1
        assert {asked(port, path)[0] for path in ("/live", "/ready")} == {200}
        assert asked(node.port)[0] != 200
        lag, replayed = value(port, "cloudia_frames_lag_seconds_count"), value(port, "cloudia_frames_replayed_total")
        assert lag + replayed == 2


async def test_what_is_not_installed_is_told_once(cloud: Cloud, tmp_path: Path) -> None:
    """Without the extra the worker works, says what to install, and has no /metrics."""
    (tmp_path / "prometheus_client.py").write_text("raise ImportError('not here')\n")
    port = free_port()
    variables = {
        "CLOUDIA_TELEMETRY_PROMETHEUS": "true",
        "CLOUDIA_WORKER_PROBE_PORT": str(port),
        "PYTHONPATH": str(tmp_path),
    }
    async with worker(cloud, tmp_path, **variables):
        await eventually(lambda: asked(port, "/ready")[0] == 200)
        assert await asyncio.to_thread(asked, port) == (404, '{"status": "not found"}')
    (line,) = log_lines(tmp_path, "telemetry is not sent")
    assert "cloudia-chat[prometheus]" in line["hint"]


@pytest.mark.parametrize("part", ["worker", "gateway"])
async def test_off_is_off(cloud: Cloud, tmp_path: Path, part: str) -> None:
    """Without the setting there are probes, and no metrics."""
    port = free_port()
    if part == "worker":
        async with worker(cloud, tmp_path, CLOUDIA_WORKER_PROBE_PORT=str(port)):
            await eventually(lambda: asked(port, "/live")[0] == 200)
            assert asked(port)[0] == 404
    else:
        async with running(cloud, tmp_path / "gateway.log", CLOUDIA_GATEWAY_PROBE_PORT=str(port)):
            await eventually(lambda: asked(port, "/ready")[0] == 200)
            assert asked(port)[0] == 404
