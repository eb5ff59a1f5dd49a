"""The simulated provider as a child process, and the vendors' SDKs pointed at it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import httpx2
import openai
import pytest

from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import anthropic

Message = dict[str, Any]


@dataclass
class Server:
    """A running provider, its control endpoint, and the file that its log goes to."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    http: httpx2.Client
    """Bears the token where it asks the control."""
    token: str

    def get(self, what: str) -> dict[str, Any]:
        return self._checked("GET", what, None)

    def post(self, what: str, **body: object) -> dict[str, Any]:
        return self._checked("POST", what, body)

    def delete(self, what: str) -> dict[str, Any]:
        return self._checked("DELETE", what, None)

    def fault(self, kind: str, **more: object) -> dict[str, Any]:
        return self.post("faults", kind=kind, **more)

    def _checked(self, method: str, what: str, body: object) -> dict[str, Any]:
        response = self.http.request(method, f"/_cloudia/{what}", json=body)
        assert response.status_code in {200, 201}, response.text
        data: dict[str, Any] = response.json()
        return data

    def ended(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until that many requests have ended and none is under way; return their records."""
        seen: dict[str, Any] = {}

        def enough() -> bool:
            seen.update(self.get("requests"))
            return (seen["total"], seen["in_flight"]) == (count, 0)

        wait_until(enough)
        records: list[dict[str, Any]] = seen["records"]
        return records


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds; fail if it hangs."""
    deadline = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


@contextmanager
def started(log: Path, *options: str) -> Iterator[Server]:
    """Run the provider with `options` until the block ends."""
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "cloudia.sim.llm", *options], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line, log.read_text()
        said = json.loads(line)

        def bears(request: httpx2.Request) -> httpx2.Request:
            if request.url.path.startswith("/_cloudia/"):
                request.headers["authorization"] = f"Bearer {said['control_token']}"
                request.headers.setdefault("content-type", "application/json")
            return request

        with httpx2.Client(base_url=said["url"], auth=bears) as http:
            yield Server(process, said["url"], log, http, said["control_token"])
    finally:
        process.terminate()
        process.communicate(timeout=HANGS)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(tmp_path_factory.mktemp("provider") / "stderr.log") as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """Return the provider without faults, script, records and pacing."""
    for what in ("faults", "replies", "requests"):
        running.delete(what)
    running.post("settings", ttft=0, tps=0, seed=0)
    return running


@dataclass
class Chat:
    """One vendor's SDK. It never retries, so a test sees what the provider did."""

    sdk: Literal["openai", "anthropic"]
    server: Server
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic

    @property
    def errors(self) -> Any:
        """Return the module that has the SDK's exceptions, whose names both vendors share."""
        return importlib.import_module(self.sdk)

    def ask(self, said: str | list[Message], *, stream: bool = False, timeout: float = 10.0, **more: Any) -> str:
        """Return the answer's text."""
        messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
        asked: Any = {"model": "sim-large", "messages": messages, "stream": stream, "timeout": timeout, **more}
        got: Any
        if self.sdk == "openai":
            got = self.openai.chat.completions.create(**asked)
            if not stream:
                return str(got.choices[0].message.content)
            return "".join(chunk.choices[0].delta.content or "" for chunk in got if chunk.choices)
        got = self.anthropic.messages.create(max_tokens=20_000, **asked)
        if not stream:
            return "".join(block.text for block in got.content)
        return "".join(event.delta.text for event in got if event.type == "content_block_delta")

    async def ask_async(self, said: str, *, stream: bool = False) -> str:
        """Return the answer's text, by the asynchronous client."""
        asked: Any = {"model": "sim-large", "messages": [{"role": "user", "content": said}], "stream": stream}
        got: Any
        if self.sdk == "openai":
            async with openai.AsyncOpenAI(api_key="k", base_url=f"{self.server.url}/v1", max_retries=0) as client:
                got = await client.chat.completions.create(**asked)
                if not stream:
                    return str(got.choices[0].message.content)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in got if chunk.choices])
        async with self.errors.AsyncAnthropic(api_key="k", base_url=self.server.url, max_retries=0) as other:
            got = await other.messages.create(max_tokens=20_000, **asked)
            if not stream:
                return "".join(block.text for block in got.content)
            return "".join([event.delta.text async for event in got if event.type == "content_block_delta"])


@pytest.fixture(scope="session")
def clients(running: Server) -> Iterator[tuple[openai.OpenAI, anthropic.Anthropic]]:
    import anthropic  # noqa: PLC0415 - it takes a second, and most processes of a run make none of these tests

    with (
        openai.OpenAI(api_key="k", base_url=f"{running.url}/v1", max_retries=0) as first,
        anthropic.Anthropic(api_key="k", base_url=running.url, max_retries=0) as second,
    ):
        yield first, second


@pytest.fixture
def openai_client(clients: tuple[openai.OpenAI, anthropic.Anthropic], server: Server) -> openai.OpenAI:
    return clients[0]


@pytest.fixture
def anthropic_client(clients: tuple[openai.OpenAI, anthropic.Anthropic], server: Server) -> anthropic.Anthropic:
    return clients[1]


@pytest.fixture(params=["openai", "anthropic"])
def chat(
    request: pytest.FixtureRequest, server: Server, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic
) -> Chat:
    """Return each vendor's SDK in turn."""
    return Chat(request.param, server, openai_client, anthropic_client)
