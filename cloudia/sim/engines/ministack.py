"""MiniStack: AWS as a child process. Taken from this environment, else from one of its own.

MiniStack pins one version of botocore. A user's environment must not be bound by that, so where MiniStack is not installed
beside cloudia it gets an environment in the user's cache folder, made once.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cloudia.hosts import page_origins
from cloudia.sim.checks import Check
from cloudia.sim.engines import guard
from cloudia.sim.engines.engine import EngineSpec
from cloudia.sim.own_environment import OwnEnvironment
from cloudia.sim.ports import LOOPBACK
from cloudia.sim.probes import http_json
from cloudia.sim.spec import PartSpec, environment_of_others

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.settings import Settings
    from cloudia.sim.engines.engine import Folders

__all__ = ["OWN", "VERSION", "MiniStack", "environment", "find_python"]

VERSION = "1.5.33"
OWN = OwnEnvironment(
    name=f"ministack-{VERSION}",
    title=f"MiniStack {VERSION}",
    # boto3 is for the functions that it runs: Lambda's own Python has it, and their zips have not. It is the one of the
    # botocore that MiniStack pins, or pip would try every newer one.
    install=(f"ministack=={VERSION}", "boto3==1.43.106"),
    otherwise="Install it yourself with `pip install 'cloudia-chat[local]'`, or use --engine endpoint.",
)
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
        if OWN.is_made:
            return Check("ministack", "ok", f"MiniStack {VERSION} at {OWN.folder}")
        return Check(
            "ministack", "ok", "MiniStack is installed by the first `cloudia up`", "Takes half a minute and a network."
        )

    async def prepare(self, folders: Folders, port: Callable[[], int], say: Callable[[str], None]) -> EngineSpec:
        """Choose a port, and find MiniStack or install it."""
        own = port()
        url = f"http://{LOOPBACK}:{own}"
        kept = folders.data / "ministack" if folders.data else None
        if kept:
            kept.mkdir(exist_ok=True)

        async def ready(_pid: int) -> bool:
            await http_json(f"{url}/_ministack/ready")
            return True

        part = PartSpec(
            "engine",
            [await find_python(say), "-P", _GUARD],
            {**environment(own, temporary=folders.temporary, data=kept), **self._guard(own)},
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
    """Return a Python that has MiniStack: this one, else its own, which is made where there is none yet."""
    if importlib.util.find_spec("ministack"):
        return sys.executable
    await OWN.make(say)
    return OWN.python


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
