"""How many answers one worker process streams at once, and how evenly.

    python benchmarks/bench_streams.py [STREAMS [TOKENS_PER_SECOND]]

300 answers at 20 tokens/s each, or as is said, at the same time, from one worker. Prints p50 and p99 of the time between two
frames of an answer as they stand in the event log, the worker's memory and its share of a core; beside it the same answers read
straight from the provider with its SDK in one process.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import openai
import psutil
from redis.asyncio import Redis

from cloudia.client import Client
from cloudia.client.api import Api
from cloudia.cloud.identity import issue_token
from cloudia.cloud.redis import Keys
from cloudia.local.chaos import Chaos
from cloudia.local.project import Project
from cloudia.protocol import PostMessage

CLI = [sys.executable, "-m", "cloudia"]
STREAMS = int(sys.argv[1]) if sys.argv[1:] else 300
TOKENS_PER_SECOND = float(sys.argv[2]) if sys.argv[2:] else 20.0
WORDS = 300
SESSIONS = 10


def show(name: str, gaps: list[float], memory: int, cpu: float) -> None:
    """Print one row."""
    gaps.sort()
    print(
        f"{name:<34} frames {len(gaps):6d}   p50 {statistics.median(gaps) * 1000:5.0f} ms   "
        f"p99 {gaps[int(len(gaps) * 0.99)] * 1000:5.0f} ms   {memory / 2**20:4.0f} MB   {cpu * 100:4.0f} % of a core"
    )


async def with_cloudia(run: dict[str, Any], redis_url: str, token: str) -> None:
    """Stream through the worker, and measure at the event log."""
    worker = psutil.Process(run["pids"]["worker"])
    redis = Redis.from_url(redis_url, decode_responses=True)
    sessions = []
    for _ in range(SESSIONS):
        async with Client(run["api_url"], run["websocket_url"], token) as client:
            sessions.append(await client.connected())
    async with Api(run["api_url"], token) as api:
        jobs = [
            (
                await api.post_message(PostMessage(f"stream {n} [[words:{WORDS}]]", session_id=sessions[n % SESSIONS]))
            ).job_id
            for n in range(STREAMS)
        ]
        await asyncio.sleep(3)  # Now all are under way.
        began, before = time.monotonic(), sum(worker.cpu_times()[:2])
        await asyncio.sleep(8)
        cpu = (sum(worker.cpu_times()[:2]) - before) / (time.monotonic() - began)
        memory = worker.memory_info().rss
        while not all([(await api.job(job))["status"] == "done" for job in jobs[-20:]]):  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.5)
    times: dict[str, list[float]] = {}
    for session in sessions:
        entries: Any = await redis.xrange(Keys(run["stack_name"]).log(session))
        for entry_id, fields in entries:
            event = json.loads(fields["e"])
            if event["type"] == "delta":
                times.setdefault(event["job_id"], []).append(int(str(entry_id).partition("-")[0]) / 1000)
    await redis.aclose()
    gaps = [after - first for frames in times.values() for first, after in pairwise(frames)]
    assert len(times) == STREAMS
    show(f"one worker, {STREAMS} answers", gaps, memory, cpu)


async def straight(run: dict[str, Any], key: str) -> None:
    """Stream the same answers into this process with the SDK alone."""
    client = openai.AsyncOpenAI(base_url=f"{run['llm_url']}/v1", api_key=key, max_retries=0)
    process = psutil.Process()
    gaps: list[float] = []

    async def read(number: int) -> None:
        last = None
        chunks = await client.chat.completions.create(
            model="sim-1", messages=[{"role": "user", "content": f"stream {number} [[words:{WORDS}]]"}], stream=True
        )
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                now = time.monotonic()
                if last is not None:
                    gaps.append(now - last)
                last = now

    began, before = time.monotonic(), sum(process.cpu_times()[:2])
    await asyncio.gather(*(read(number) for number in range(STREAMS)))
    cpu = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
    await client.close()
    show(f"the SDK alone, {STREAMS} answers", gaps, process.memory_info().rss, cpu)


def main() -> None:
    """Start a stack, measure, stop it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cloudia.toml").write_text(f"[worker]\nconcurrency = {STREAMS + 20}\n[events]\nmax_length = 100000\n")
        out = subprocess.run([*CLI, "up", "--detach", "--json"], cwd=folder, check=True, capture_output=True, text=True)
        run = json.loads(out.stdout)
        try:
            Chaos(Project(folder).require_run()).set_pace(ttft=0.2, tps=TOKENS_PER_SECOND, seed=0)
            redis_url = Project(folder).settings_of(Project(folder).require_run()).redis_url
            asyncio.run(with_cloudia(run, redis_url, issue_token(Project(folder).secrets().token, "bench")))
            asyncio.run(straight(run, Project(folder).secrets().provider))
        finally:
            subprocess.run([*CLI, "down"], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
