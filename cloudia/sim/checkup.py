"""Checks of this machine, one per thing that a stack can stand on."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from cloudia.errors import CloudiaError, UsageError
from cloudia.sim import ministack
from cloudia.sim.ports import choose_port
from cloudia.sim.redis_server import find_redis

if TYPE_CHECKING:
    from cloudia.settings import Settings
    from cloudia.sim.project import Project

__all__ = ["Check", "check_all"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one thing. `optional` is not there and not needed; `missing` keeps `cloudia up` from starting."""

    name: str
    state: Literal["ok", "optional", "missing"]
    found: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the check as `cloudia doctor --json` prints it."""
        return asdict(self)


def check_all(project: Project) -> list[Check]:
    """Check everything, in the order in which a stack needs it. Starts and installs nothing."""
    checks = [_python(), _folder(project)]
    try:
        settings = project.settings().settings
    except UsageError as error:
        return [*checks, Check("settings", "missing", error.message, error.hint)]
    return [*checks, _settings(project), _engine(settings), _redis(settings), _ports(), *_keys(settings), _docker()]


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _folder(project: Project) -> Check:
    try:
        project.state.stat()
    except CloudiaError as error:
        return Check("folder", "missing", error.message, error.hint)
    return Check("folder", "ok", str(project.root))


def _settings(project: Project) -> Check:
    given = sorted(set(project.settings().sources.values()))
    return Check("settings", "ok", f"from {', '.join(given)}" if given else "all defaults")


def _engine(settings: Settings) -> Check:
    if settings.up_engine == "endpoint":
        url = settings.aws_endpoint_url
        return (
            Check("engine", "ok", url)
            if url
            else Check("engine", "missing", "endpoint, no URL", "Set AWS_ENDPOINT_URL.")
        )
    if importlib.util.find_spec("ministack"):
        return Check("engine", "ok", "MiniStack in this environment")
    if (ministack.own_environment() / "complete").exists():
        return Check("engine", "ok", f"MiniStack {ministack.VERSION} at {ministack.own_environment()}")
    return Check(
        "engine", "ok", "MiniStack is installed by the first `cloudia up`", "Takes half a minute and a network."
    )


def _redis(settings: Settings) -> Check:
    if settings.redis_url:
        return Check("redis", "ok", "the one that redis.url names")
    try:
        return Check("redis", "ok", find_redis().name)
    except UsageError as error:
        return Check("redis", "missing", "none", error.hint)


def _ports() -> Check:
    try:
        choose_port()
    except UsageError as error:
        return Check("ports", "missing", "no port on 127.0.0.1 can be had", error.hint)
    return Check("ports", "ok", "free ports on 127.0.0.1")


def _keys(settings: Settings) -> list[Check]:
    checks = []
    for provider in ("openai", "anthropic"):
        key = getattr(settings, f"{provider}_api_key")
        if key:
            checks.append(Check(provider, "ok", f"a key that ends in {key[-4:]}" if len(key) > 12 else "a key"))  # noqa: PLR2004
        else:
            variable = f"{provider.upper()}_API_KEY"
            checks.append(Check(provider, "optional", "no key", f"Set {variable} for `cloudia up --llm {provider}`."))
    return checks


def _docker() -> Check:
    path = shutil.which("docker")
    return Check("docker", "ok", path) if path else Check("docker", "optional", "not needed, and not here")
