"""What telling OpenTelemetry costs: a worker's CPU and throughput, and a POST, with it off and on in one run.

    python -m benchmarks.bench_telemetry [MESSAGES [ROUNDS]]

A worker process of its own answers bursts of messages of 20 words, off and on by turns; the least of each is told, as what
else a machine does only ever adds. `on` sends spans and metrics to a collector that takes them, `logs` its log lines too. Then
the collector is away, slow (10 s an answer) and full (503): what the worker does then, and what it says of what was lost. A
POST is the function in this process, without HTTP, by turns as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import psutil

from cloudia import telemetry
from cloudia.functions.post_message import handler
from cloudia.functions.services import services
from cloudia.settings import to_environment
from tests.servers import Quiet, serving
from tests.support import Cloud, child, eventually, make_cloud, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = int(sys.argv[1]) if sys.argv[1:] else 150
ROUNDS = int(sys.argv[2]) if sys.argv[2:] else 4
POSTS = 60
AWAY = "http://127.0.0.1:9"
_TOLD = ("spans were lost", "the listener missed events", "the listener is too slow; events are dropped")


@dataclass(frozen=True)
class Run:
    """One burst."""

    cpu: float
    """Milliseconds of the worker's CPU a message."""
    rate: float
    """Messages a second."""
    told: list[str]
    """What the worker's log says of what was lost."""


@contextmanager
def collector(status: int = 200, seconds: float = 0.0) -> Iterator[str]:
    """Take what comes and forget it. Yields its URL."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            time.sleep(seconds)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

    with serving(Handler) as url:
        yield url


def variables(endpoint: str | None, *, logs: bool = False) -> dict[str, str]:
    """Return the variables of a process that sends to an endpoint, none where it sends nothing."""
    return (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_LOGS_EXPORTER": "otlp" if logs else "none"} if endpoint else {}
    )


def said(log: Path) -> list[str]:
    """Return what a log says of what was lost."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    ours = [f"{line['event']}: {line.get('count', '')}" for line in lines if line["event"] in _TOLD]
    theirs = sum(line.get("logger", "").startswith("opentelemetry") for line in lines)
    return [*ours, f"{theirs} lines of OpenTelemetry's"]


def has_ended(cloud: Cloud, job: Any) -> bool:
    """Tell whether a job has ended."""
    return bool(cloud.jobs.get(job.job_id, job.user_id).ended)


async def burst(cloud: Cloud, endpoint: str | None, log: Path, *, logs: bool = False) -> Run:
    """Have a worker of its own answer a burst."""

    async def answered(count: int) -> float:
        jobs = [cloud.accept(f"{number} [[words:20]]", session_id="ses_bench") for number in range(count)]
        began = time.monotonic()
        for job in jobs:
            cloud.queue.send(job)
        for job in jobs:
            await eventually(partial(has_ended, cloud, job), every=0.05)
        return time.monotonic() - began

    async with child("cloudia.worker", {**cloud.environment(), **variables(endpoint, logs=logs)}, log) as process:
        await answered(20)
        worker = psutil.Process(process.pid)
        before = sum(worker.cpu_times()[:2])
        seconds = await answered(MESSAGES)
        cpu = sum(worker.cpu_times()[:2]) - before
    return Run(1000 * cpu / MESSAGES, MESSAGES / seconds, said(log))


def post(cloud: Cloud, token: str, endpoint: str | None) -> list[float]:
    """Return the milliseconds of POSTs."""
    environment = {**to_environment(cloud.settings, "functions"), **variables(endpoint)}
    with patch.dict(os.environ, environment):
        services.cache_clear()
        event = {
            "headers": {"authorization": f"Bearer {token}"},
            "body": json.dumps({"content": "hello"}),
        }
        times = []
        for number in range(POSTS + 10):
            began = time.perf_counter()
            assert handler(event, None)["statusCode"] == 202
            if number >= 10:
                times.append(1000 * (time.perf_counter() - began))
        telemetry.stop_listening(5)
    return times


async def main() -> None:
    """Print the rows."""
    with tempfile.TemporaryDirectory() as name, collector() as url:
        folder = Path(name)
        stack = start_stack(folder, CLOUDIA_LLM_MODEL="sim-1")
        try:
            cloud = make_cloud(stack)
            runs: dict[str, list[Run]] = {"off": [], "on": [], "logs": []}
            for number in range(ROUNDS):
                for mode, endpoint in (("off", None), ("on", url), ("logs", url)):
                    log = folder / f"{mode}{number}.log"
                    runs[mode].append(await burst(cloud, endpoint, log, logs=mode == "logs"))
            for mode, done in runs.items():
                least, best = min(run.cpu for run in done), max(run.rate for run in done)
                print(f"worker, {mode:<4} {least:6.2f} ms of CPU a message, {best:6.1f} messages/s")
            off, on = (min(run.cpu for run in runs[mode]) for mode in ("off", "on"))
            print(f"worker, on against off: {100 * (on / off - 1):+.1f} % of CPU")
            with collector(seconds=10) as slow, collector(status=503) as full:
                for mode, endpoint in (("away", AWAY), ("slow", slow), ("full", full)):
                    run = await burst(cloud, endpoint, folder / f"{mode}.log")
                    print(
                        f"worker, {mode:<4} {run.cpu:6.2f} ms of CPU a message, {run.rate:6.1f} messages/s; {run.told}"
                    )
            posts: dict[str, list[float]] = {"off": [], "on": []}
            for _ in range(ROUNDS):
                for mode, endpoint in (("off", None), ("on", url)):
                    posts[mode] += await asyncio.to_thread(post, cloud, cloud.token(), endpoint)
            off, on = (statistics.median(posts[mode]) for mode in ("off", "on"))
            print(f"POST, p50: off {off:.2f} ms, on {on:.2f} ms: {on - off:+.2f} ms")
        finally:
            stop_stack(stack)


if __name__ == "__main__":
    asyncio.run(main())
