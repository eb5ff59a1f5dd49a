"""`cloudia up` with what `cloudia.toml` chooses: a Redis, ports, workers, provider, model, fallback and limits."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from cloudia.sim.ports import choose_port
from cloudia.sim.probes import redis_answers
from cloudia.sim.redis_server import find_redis, write_access
from tests.cli.provider import ask_provider, fault, quick
from tests.support import RunningStack, cli, eventually, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PASSWORD = "a-password-of-redis"
_TOML = """\
[up]
workers = 2

[api]
port = {api}

[gateway]
port = {gateway}

[redis]
url = "redis://:{password}@127.0.0.1:{redis}/0"

[llm]
provider = "anthropic"
model = "the-first"
fallback_provider = "openai"
fallback_model = "the-second"
system_prompt = "You are a parrot."
breaker_errors = 0
breaker_open_seconds = 1

[limits]
content_bytes = 100
context_messages = 1
"""


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose parts are chosen in its `cloudia.toml`, with a Redis that is not its own."""
    folder = tmp_path_factory.mktemp("chosen")
    redis, api, gateway = choose_port(), choose_port(), choose_port()
    (folder / "cloudia.toml").write_text(_TOML.format(redis=redis, api=api, gateway=gateway, password=_PASSWORD))
    write_access(folder / "redis.conf", _PASSWORD)
    found = find_redis()
    assert found
    command = found.command(redis, folder / "redis.conf", None)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            asyncio.run(_answers(redis))
            started = start_stack(folder)
            assert (started.run["api_url"], started.run["websocket_url"]) == (
                f"http://127.0.0.1:{api}",
                f"ws://127.0.0.1:{gateway}",
            )
            yield started
            stop_stack(started)
            assert server.poll() is None  # It is not ours to stop.
        finally:
            server.terminate()


async def _answers(port: int) -> None:
    async def asked() -> bool:
        try:
            return await redis_answers("127.0.0.1", port, _PASSWORD)
        except OSError:
            return False

    await eventually(asked)


def test_the_parts(chosen: RunningStack) -> None:
    """A Redis by its URL is used instead of one of our own, and there are as many workers as were asked for."""
    assert list(chosen.run["parts"]) == ["engine", "llm", "collector", "api", "gateway", "worker-1", "worker-2"]
    status = chosen.json("status", "--wait-for", "ready")
    assert len(status["health"]["workers"]) == 2


def test_provider_model_and_prompt(chosen: RunningStack) -> None:
    """The worker speaks to the provider, with the model and the system prompt, that were chosen."""
    with quick(chosen.run):
        told = chosen.json("send", "hello")
    assert (told["status"], told["provider"], told["model"]) == ("done", "anthropic", "the-first")
    assert "You are a parrot." in told["reply"]


def test_the_fallback(chosen: RunningStack) -> None:
    """While the chosen provider fails the fallback answers, and when it is back it answers again."""
    with quick(chosen.run):
        with fault(chosen.run, "status", status=500, provider="anthropic"):
            told = chosen.json("send", "hello")
            assert (told["status"], told["provider"], told["model"]) == ("done", "openai", "the-second")
        assert ask_provider(chosen.run, "GET", "health")["in_flight"] == 0
        for _ in range(50):
            told = chosen.json("send", "hello again")
            if told["model"] == "the-first":
                return
        pytest.fail("it never came back")


def test_the_limits(chosen: RunningStack) -> None:
    """A message over the chosen limit is refused, one by one and as a line of many; the context is as long as was chosen."""
    refused = chosen.cli("send", "x" * 101, "--json")
    assert refused.returncode == 2
    assert json.loads(refused.stderr)["error"]["message"] == "content has 101 bytes; 100 are allowed"
    (chosen.folder / "many.jsonl").write_text(json.dumps("x" * 101))
    refused = chosen.cli("send", "--jsonl", "many.jsonl")
    assert refused.stderr.startswith("error: line 1 cannot be sent: content has 101 bytes; 100 are allowed\n")
    with quick(chosen.run):
        first = chosen.json("send", "my parrot is called Humboldt")
        second = chosen.json("send", "and now?", "-c", first["conversation_id"])
    assert "Humboldt" not in second["reply"]


def test_where_they_came_from(chosen: RunningStack) -> None:
    """`config` names `cloudia.toml` as the source of each, and shows no password of a URL."""
    rows = {row["name"]: row for row in chosen.json("config")["settings"]}
    for name in ("up.workers", "api.port", "redis.url", "llm.provider", "llm.fallback_model", "limits.content_bytes"):
        assert rows[name]["source"] == "cloudia.toml"
    assert rows["redis.url"]["value"].startswith("redis://:••••@127.0.0.1:")
    assert _PASSWORD not in chosen.cli("config").stdout


def test_a_password_is_not_logged(chosen: RunningStack) -> None:
    """I6: the password is in no log."""
    written = [path.read_text() for path in (chosen.folder / ".cloudia" / "logs").iterdir()]
    assert not [text for text in written if _PASSWORD in text]
    assert _PASSWORD not in chosen.cli("status").stdout


def test_a_flag_still_wins(chosen: RunningStack, tmp_path: Path) -> None:
    """What a flag says wins over `cloudia.toml`; here it is the port, which is taken."""
    (tmp_path / "cloudia.toml").write_text("[api]\nport = 0\n")
    port = chosen.run["api_url"].rpartition(":")[2]
    refused = cli("up", "--detach", "--port", port, folder=tmp_path)
    assert refused.returncode == 2
    assert f"error: port {port} is taken" in refused.stderr


@pytest.mark.parametrize(
    ("written", "message", "line"),
    [
        ("[worker]\n\nconcurrency = 0\n", "worker.concurrency (from cloudia.toml) is not between 1 and 2000", 3),
        ("[redis]\nurl = 4\n", "redis.url (from cloudia.toml) is not a text", 2),
        ("[limits]\ncontent = 4\n", "cloudia.toml: unknown setting limits.content", 2),
    ],
)
def test_a_mistake_starts_nothing(written: str, message: str, line: int, tmp_path: Path) -> None:
    """A wrong key or value exits 2, names the key and the line, and nothing is started or written."""
    (tmp_path / "cloudia.toml").write_text(written)
    for verb in (["up", "--detach"], ["config"], ["status"]):
        refused = cli(*verb, "--json", folder=tmp_path)
        if verb == ["status"]:
            assert refused.returncode == 3
            continue
        assert (refused.returncode, refused.stdout) == (2, "")
        error = json.loads(refused.stderr)["error"]
        assert error["message"] == message
        assert error["hint"].startswith(f"Mend line {line} of cloudia.toml. ")
    assert not (tmp_path / ".cloudia").exists()
