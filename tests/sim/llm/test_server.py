"""The process: how it starts, what it says, and that it stops."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

from cloudia.errors import TimedOutError
from cloudia.sim.llm import line
from tests.patience import HANGS
from tests.sim.llm.conftest import started, wait_until

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """Run a provider that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "cloudia.sim.llm", *options], capture_output=True, text=True, timeout=HANGS, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it(tmp_path: Path, number: int) -> None:
    """SIGTERM and SIGINT end it with 0 within a second, with a stream open, an answer owed and a client that hangs."""
    with started(tmp_path / "log", "--tps", "1") as server:
        server.fault("hang", model="hang")
        said: Any = [{"role": "user", "content": "hi"}]
        with openai.OpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0) as client:
            stream = client.chat.completions.create(model="m", messages=said, stream=True)
            next(stream)
            body = b'{"model": "hang", "messages": [{"role": "user", "content": "hi"}]}'
            head = (
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
                b"authorization: Bearer k\r\ncontent-length: %d\r\n\r\n"
            )
            with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as hanging:
                hanging.sendall(head % len(body) + body)
                wait_until(lambda: bool(server.get("health")["in_flight"] == 2))
                began = time.monotonic()
                server.process.send_signal(number)
                assert server.process.wait(timeout=HANGS) == 0
                assert time.monotonic() - began < 1
            with pytest.raises(openai.APIConnectionError):
                list(stream)
        log = server.log.read_text()
    assert sorted(json.loads(row)["outcome"] for row in log.splitlines()) == ["disconnected", "hang"]


def test_options(tmp_path: Path) -> None:
    """The options are the first settings; without them the defaults hold."""
    with started(tmp_path / "log", "--ttft", "0.2", "--tps", "50", "--seed", "7") as server:
        assert server.get("settings") == {"ttft": 0.2, "tps": 50, "seed": 7}
        assert server.url.startswith("http://127.0.0.1:")
    with started(tmp_path / "log") as server:
        assert server.get("settings") == {"ttft": 0.15, "tps": 60, "seed": 0}


def test_a_port_that_is_taken() -> None:
    """A port that is taken is said in one sentence with a hint, with exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("--port", str(taken.getsockname()[1]))
    assert ended.returncode == 1
    error = json.loads(ended.stderr)["error"]
    assert error["code"] == "part_failed"
    assert "in use" in error["message"]
    assert error["hint"]


@pytest.mark.parametrize("options", [("--port", "99999"), ("--tps", "-1"), ("--ttft", "nan"), ("--seed", "x")])
def test_wrong_options(options: tuple[str, str]) -> None:
    """An option that cannot be is refused by its name, with exit code 2."""
    ended = run(*options)
    assert ended.returncode == 2
    assert options[0] in ended.stderr


def test_it_is_light() -> None:
    """The server does not load what would make it slow to start or large: the SDKs and pydantic."""
    code = "import sys, cloudia.sim.llm.__main__; print([m for m in ('openai', 'anthropic', 'pydantic') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS, check=True)
    assert ended.stdout == "[]\n"


async def test_a_request_that_never_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not send its request in time is not waited for."""
    monkeypatch.setattr(line, "BODY_SECONDS", 0.01)

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        return {}

    with pytest.raises(TimedOutError):
        await line.read_body(receive, 10)
