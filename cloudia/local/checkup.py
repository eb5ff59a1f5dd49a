"""Checks of this machine, one per thing that a stack can stand on."""

from __future__ import annotations

import asyncio
import importlib.util
import platform
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from cloudia.errors import CloudiaError, PartError, UsageError
from cloudia.sim.engines import docker, localstack, ministack
from cloudia.sim.engines.endpoint import who_answers
from cloudia.sim.ports import choose_port
from cloudia.sim.redis_server import find_redis

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.local.project import Project
    from cloudia.settings import Settings

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
    return [*checks, _settings(project), *_engines(settings), _redis(settings), _ports(), *_keys(settings), _docker()]


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


def _engines(settings: Settings) -> list[Check]:
    """Return a check of each engine: the chosen one as `engine`, which must be there, then the others by their names."""
    checks = {name: check(settings) for name, check in _ENGINES.items()}
    chosen = replace(checks.pop(settings.up_engine), name="engine")
    others = [
        replace(check, state="optional" if check.state == "missing" else check.state) for check in checks.values()
    ]
    return [chosen, *others]


def _ministack(_settings: Settings) -> Check:
    if importlib.util.find_spec("ministack"):
        return Check("ministack", "ok", "MiniStack in this environment")
    if (ministack.own_environment() / "complete").exists():
        return Check("ministack", "ok", f"MiniStack {ministack.VERSION} at {ministack.own_environment()}")
    return Check(
        "ministack", "ok", "MiniStack is installed by the first `cloudia up`", "Takes half a minute and a network."
    )


def _localstack(settings: Settings) -> Check:
    """Check what `cloudia up --engine localstack` would do: use one that runs, or start its container."""
    url, image = settings.aws_endpoint_url or localstack.DEFAULT_URL, settings.localstack_image
    token = f", {_shown(settings.localstack_auth_token, 'token')}" if settings.localstack_auth_token else ""
    try:
        found = who_answers(url)
        if found and found.name == "LocalStack":
            localstack.check_services(found)
            return Check("localstack", "ok", f"{found} at {url}")
        if settings.aws_endpoint_url:
            return Check(
                "localstack", "missing", f"no LocalStack answers at {url}", "Start it, or unset AWS_ENDPOINT_URL."
            )
        localstack.check_token(image, settings.localstack_auth_token)
        version = asyncio.run(docker.check_docker())
        there = asyncio.run(docker.has_image(image))
    except CloudiaError as error:
        return Check("localstack", "missing", error.message, error.hint)
    first = "" if there else ", pulled by the first `cloudia up --engine localstack`"
    return Check("localstack", "ok", f"{image} in Docker {version}{token}{first}")


def _endpoint(settings: Settings) -> Check:
    url = settings.aws_endpoint_url
    if not url:
        return Check("endpoint", "missing", "endpoint, no URL", "Set AWS_ENDPOINT_URL.")
    try:
        found = who_answers(url)
    except UsageError as error:
        return Check("endpoint", "missing", error.message, error.hint)
    if found is None:
        return Check("endpoint", "missing", f"nothing answers at {url}", "Start it, or use --engine ministack.")
    return Check("endpoint", "ok", f"{found} at {url}")


_ENGINES: dict[str, Callable[[Settings], Check]] = {
    "ministack": _ministack,
    "localstack": _localstack,
    "endpoint": _endpoint,
}


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
            checks.append(Check(provider, "ok", _shown(key, "key")))
        else:
            variable = f"{provider.upper()}_API_KEY"
            checks.append(Check(provider, "optional", "no key", f"Set {variable} for `cloudia up --llm {provider}`."))
    return checks


def _shown(secret: str, kind: str) -> str:
    """Return a secret as it may be shown: no more than its end."""
    return f"a {kind} that ends in {secret[-4:]}" if len(secret) > 12 else f"a {kind}"  # noqa: PLR2004


def _docker() -> Check:
    path = shutil.which("docker")
    if not path:
        return Check("docker", "optional", "not needed, and not here")
    try:
        return Check("docker", "ok", f"Docker {asyncio.run(docker.check_docker())} at {path}")
    except PartError:
        hint = "Start it for `cloudia up --engine localstack`, which alone needs it."
        return Check("docker", "optional", f"{path}, but its daemon does not answer", hint)
