"""What a message costs on its way: until the 202, and from the provider's first token to the client.

    python benchmarks/bench_message.py

Prints, in milliseconds, p50 and p95 of: `POST /messages` to 202; beside it three writes made with boto3 by hand (job, message,
queue), without HTTP, token, idempotency or conversation; the first token of a call straight to the provider with its SDK; and
the first `delta` at the client of a message that goes all the way, after it was sent and after the provider's first token.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import openai

from cloudia.client import Client
from cloudia.cloud.identity import issue_token
from cloudia.local.project import Project
from cloudia.protocol import PostMessage
from cloudia.sim.probes import get_json
from cloudia.stack import Stack

if TYPE_CHECKING:
    from cloudia.local.secrets import Secrets
    from cloudia.settings import Settings

CLI = [sys.executable, "-m", "cloudia"]
POSTS = 100
ANSWERS = 40
QUESTION = "how fast is this? [[words:12]]"


def show(name: str, seconds: list[float]) -> None:
    """Print one row."""
    millis = sorted(1000 * value for value in seconds)
    print(f"{name:<58} p50 {statistics.median(millis):7.1f} ms   p95 {millis[int(len(millis) * 0.95)]:7.1f} ms")


def by_hand(run: dict[str, Any], settings: Settings) -> list[float]:
    """Time the writes of a message as one would first write them."""
    stack = Stack(run["stack_name"])
    options: dict[str, Any] = {
        "region_name": run["region"],
        "endpoint_url": run["aws_endpoint_url"],
        "aws_access_key_id": settings.aws_access_key_id,
        "aws_secret_access_key": settings.aws_secret_access_key,
    }
    db, sqs = boto3.client("dynamodb", **options), boto3.client("sqs", **options)
    url = sqs.create_queue(QueueName="by-hand.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    times = []
    for _ in range(POSTS):
        name = uuid.uuid4().hex
        began = time.perf_counter()
        db.put_item(TableName=stack.jobs.name, Item={"job_id": {"S": name}})
        db.put_item(
            TableName=stack.messages.name,
            Item={"conversation_id": {"S": name}, "message_id": {"S": name}, "content": {"S": QUESTION}},
        )
        sqs.send_message(QueueUrl=url, MessageBody=QUESTION, MessageGroupId=name, MessageDeduplicationId=name)
        times.append(time.perf_counter() - began)
    return times


async def straight(run: dict[str, Any], key: str) -> list[float]:
    """Time the first token of calls that go straight to the provider."""
    client = openai.AsyncOpenAI(base_url=f"{run['llm_url']}/v1", api_key=key, max_retries=0)
    times = []
    for number in range(ANSWERS):
        began = time.perf_counter()
        chunks = await client.chat.completions.create(
            model="sim-1", messages=[{"role": "user", "content": f"{QUESTION} {number}"}], stream=True
        )
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                times.append(time.perf_counter() - began)
                break
        await chunks.close()
    await client.close()
    return times


async def all_the_way(client: Client, run: dict[str, Any], control: str) -> tuple[list[float], list[float]]:
    """Time the first delta: after the provider gave its first token, and after the message was sent."""
    ttft = get_json(f"{run['llm_url']}/_cloudia/settings", token=control)["ttft"]
    arrived: dict[str, float] = {}
    sent = []
    for number in range(ANSWERS):
        began = time.perf_counter()
        accepted = await client.send(f"{QUESTION} {number}")
        async for event in client.follow(accepted.job_id):
            if event.type == "delta" and accepted.job_id not in arrived:
                arrived[accepted.job_id] = time.time()
                sent.append(time.perf_counter() - began)
    records = get_json(f"{run['llm_url']}/_cloudia/requests", token=control)["records"]
    given = {record["job_id"]: record["started_at"] + ttft for record in records if record["job_id"] in arrived}
    return [arrived[job_id] - at for job_id, at in given.items()], sent


async def posts(client: Client, *, pause: float) -> list[float]:
    """Time messages until they are accepted; with a pause long enough, each is answered before the next is sent."""
    times = []
    for number in range(POSTS):
        began = time.perf_counter()
        await client.api.post_message(PostMessage(f"hello {number} [[words:1]]"))
        times.append(time.perf_counter() - began)
        await asyncio.sleep(pause)
    return times


async def measure(run: dict[str, Any], settings: Settings, token: str, secrets: Secrets) -> None:
    """Measure and print."""
    async with Client(run["api_url"], run["websocket_url"], token) as client:
        await client.connected()
        async for _ in client.ask(QUESTION):  # The first request of a process loads what the others find.
            pass
        direct = await straight(run, secrets.provider)
        after_token, after_send = await all_the_way(client, run, secrets.control)
        alone, busy = await posts(client, pause=0.3), await posts(client, pause=0.03)
    show("POST /messages to 202, one message at a time", alone)
    show("POST /messages to 202, 25 others a second", busy)
    show("the same three writes with boto3, one after another", by_hand(run, settings))
    show("first token, straight from the provider with its SDK", direct)
    show("first delta at the client, after the message was sent", after_send)
    show("first delta at the client, after the provider's first token", after_token)


def main() -> None:
    """Start a stack, measure, stop it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = subprocess.run([*CLI, "up", "--detach", "--json"], cwd=folder, check=True, capture_output=True, text=True)
        run = json.loads(out.stdout)
        try:
            project = Project(folder)
            secrets, settings = project.secrets(), project.settings_of(project.require_run())
            asyncio.run(measure(run, settings, issue_token(secrets.token, "bench"), secrets))
        finally:
            subprocess.run([*CLI, "down"], cwd=folder, check=True)


if __name__ == "__main__":
    main()
