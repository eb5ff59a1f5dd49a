"""MiniStack: AWS as a child process. Taken from this environment, else from one of its own.

MiniStack pins one version of botocore. A user's environment must not be bound by that, so where MiniStack is not installed
beside cloudia it gets an environment in the user's cache folder, made once.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import json
import shutil
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cloudia.errors import PartError
from cloudia.hosts import page_origins
from cloudia.sim.checks import Check
from cloudia.sim.engines import guard
from cloudia.sim.engines.commands import run_command
from cloudia.sim.engines.engine import EngineSpec
from cloudia.sim.ports import LOOPBACK, choose_port
from cloudia.sim.probes import http_json
from cloudia.sim.spec import PartSpec, environment_of_others

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cloudia.settings import Settings
    from cloudia.sim.engines.engine import Folders

__all__ = ["VERSION", "MiniStack", "environment", "find_python", "own_environment"]

VERSION = "1.5.33"
_INSTALL_SECONDS = 600
_LOOK_SECONDS = 0.2
_GUARD = str(Path(guard.__file__))


class MiniStack:
    """A child process of the stack's own."""

    title: ClassVar[str] = "MiniStack"
    takes_zips: ClassVar[bool] = True
    own_account: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._key = settings.aws_access_key_id
        self._api = settings.stack_name if settings.up_functions == "zip" else ""
        self._origins = page_origins(settings.api_port)

    def check(self) -> Check:
        """Return where MiniStack is; it is never missing, since the first `up` installs it."""
        if importlib.util.find_spec("ministack"):
            return Check("ministack", "ok", "MiniStack in this environment")
        if (own_environment() / "complete").exists():
            return Check("ministack", "ok", f"MiniStack {VERSION} at {own_environment()}")
        return Check(
            "ministack", "ok", "MiniStack is installed by the first `cloudia up`", "Takes half a minute and a network."
        )

    async def prepare(self, folders: Folders, say: Callable[[str], None]) -> EngineSpec:
        """Choose a port, and find MiniStack or install it."""
        port = choose_port()
        url = f"http://{LOOPBACK}:{port}"
        kept = folders.data / "ministack" if folders.data else None
        if kept:
            kept.mkdir(exist_ok=True)

        async def ready(_pid: int) -> bool:
            await http_json(f"{url}/_ministack/ready")
            return True

        part = PartSpec(
            "engine",
            [await find_python(say), "-P", _GUARD],
            {**environment(port, temporary=folders.temporary, data=kept), **self._guard(port)},
            ready,
            f"MiniStack {VERSION}",
        )
        return EngineSpec(url, part=part)

    def _guard(self, port: int) -> dict[str, str]:
        """Return the variables of its guard, and of its Lambda, which runs nothing where it has no API to answer."""
        rules = {"port": port, "access_key_id": self._key, "api": self._api, "origins": self._origins}
        functions = {"LAMBDA_EXECUTOR": "local"} if self._api else {"LAMBDA_EXECUTOR": "docker", "LAMBDA_STRICT": "1"}
        return {guard.VARIABLE: json.dumps(rules), **functions}


async def find_python(say: Callable[[str], None]) -> str:
    """Return a Python that has MiniStack, installing it in an environment of its own where there is none yet.

    `say` is told of the installation, which takes half a minute once, and ends where this is cancelled. `PartError` where it
    fails.
    """
    if importlib.util.find_spec("ministack"):
        return sys.executable
    own = own_environment()
    async with _locked(own.with_suffix(".lock")):
        if not (own / "complete").exists():
            say(f"installing MiniStack {VERSION} into {own}, once")
            await _install(own)
            say(f"MiniStack {VERSION} is installed")
    return str(own / "bin" / "python")


def own_environment() -> Path:
    """Return the folder of MiniStack's own environment, for this Python."""
    from platformdirs import user_cache_path  # noqa: PLC0415 - only where it is needed

    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    return user_cache_path("cloudia") / f"ministack-{VERSION}-{version}"


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Hold a lock, so that of several stacks that start at the same time one installs and the others wait for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOOK_SECONDS)
        yield


async def _install(folder: Path) -> None:
    """Make the environment. It counts as there once `complete` is in it, so a half-made one is made again."""
    shutil.rmtree(folder, ignore_errors=True)
    python = str(folder / "bin" / "python")
    try:
        async with asyncio.timeout(_INSTALL_SECONDS):
            await run_command(sys.executable, "-m", "venv", str(folder))
            # boto3 is for the functions that it runs: Lambda's own Python has it, and their zips have not.
            await run_command(python, "-m", "pip", "install", "-q", "--no-input", f"ministack=={VERSION}", "boto3")
        (folder / "complete").touch()
    except (OSError, TimeoutError) as error:
        raise PartError(
            f"MiniStack cannot be installed: {str(error) or f'not within {_INSTALL_SECONDS} s'}",
            hint="Install it yourself with `pip install 'cloudia[local]'`, or use --engine endpoint.",
        ) from error


def environment(port: int, *, temporary: Path, data: Path | None) -> dict[str, str]:
    """Return the variables that MiniStack is configured by: loopback only, and no service that listens elsewhere."""
    variables = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": LOOPBACK,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "TMPDIR": str(temporary),
        "LOG_LEVEL": "WARNING",
    }
    if data:
        variables |= {"PERSIST_STATE": "1", "STATE_DIR": str(data)}
    # The functions that it runs inherit what it has; what they are to know, they are told.
    return {**environment_of_others(), **variables}
