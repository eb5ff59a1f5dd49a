"""How long one user's answer waits behind another one's 200 messages.

    python benchmarks/bench_fair.py [PLACES]

Answers of 60 words at 20 words/s by one worker, with its default of places or that many. The first row is of a user alone; in
the second another user has posted 200 messages, each in a conversation of its own, a moment before.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cloudia.client import Client
from cloudia.client.api import Api
from cloudia.cloud.identity import issue_token
from cloudia.local.chaos import Chaos
from cloudia.local.project import Project
from cloudia.protocol import PostMessage

CLI = [sys.executable, "-m", "cloudia"]
MESSAGES, WORDS = 200, 60


async def answer_of(run: dict[str, Any], token: str) -> tuple[float, float]:
    """Ask once. Return the seconds until its first text, and until its end."""
    async with Client(run["api_url"], run["websocket_url"], token) as client:
        await client.connected()
        began, first = time.monotonic(), 0.0
        async for event in client.ask(f"just one [[words:{WORDS}]]"):
            if event.type == "delta" and not first:
                first = time.monotonic() - began
        return first, time.monotonic() - began


async def measure(run: dict[str, Any], many: str, one: str) -> None:
    """Print a row alone and a row behind."""
    print("alone:  first text %.2f s, whole %.2f s" % await answer_of(run, one))
    async with Api(run["api_url"], many) as api:
        await asyncio.gather(
            *(api.post_message(PostMessage(f"number {number} [[words:{WORDS}]]")) for number in range(MESSAGES))
        )
        print("behind: first text %.2f s, whole %.2f s" % await answer_of(run, one))


def main() -> None:
    """Start a stack, measure, stop it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if sys.argv[1:]:
            (folder / "cloudia.toml").write_text(f"[worker]\nconcurrency = {int(sys.argv[1])}\n")
        out = subprocess.run([*CLI, "up", "--detach", "--json"], cwd=folder, check=True, capture_output=True, text=True)
        try:
            Chaos(Project(folder).require_run()).set_pace(ttft=0.2, tps=20, seed=0)
            secret = Project(folder).secrets().token
            asyncio.run(measure(json.loads(out.stdout), issue_token(secret, "many"), issue_token(secret, "one")))
        finally:
            subprocess.run([*CLI, "down"], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
