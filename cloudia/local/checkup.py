"""Checks of this machine, one per thing that a stack can stand on."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudia.cloud.routes import named_routes
from cloudia.errors import CloudiaError, PartError, UsageError
from cloudia.local.collector import has_collector, is_installed
from cloudia.local.environments import accounts_named
from cloudia.providers import PROVIDERS
from cloudia.sim.checks import Check, shown
from cloudia.sim.engines import ENGINES
from cloudia.sim.engines.docker import check_docker
from cloudia.sim.ports import choose_port
from cloudia.sim.redis_server import check_redis_server

if TYPE_CHECKING:
    from cloudia.local.project import Project
    from cloudia.settings import Settings

__all__ = ["check_all"]

_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


def check_all(project: Project) -> list[Check]:
    """Check everything, in the order in which a stack needs it. Starts and installs nothing."""
    checks = [_python(), _folder(project)]
    try:
        settings = project.settings().settings
    except UsageError as error:
        return [*checks, Check("settings", "missing", error.message, error.hint)]
    return [
        *checks,
        _settings(project),
        *_engines(settings),
        *_passed_over(settings),
        _redis(settings),
        _collector(settings),
        _ports(),
        *_keys(settings),
        _docker(),
    ]


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
    checks = {name: engine(settings).check() for name, engine in ENGINES.items()}
    chosen = replace(checks.pop(settings.up_engine), name="engine")
    others = [
        replace(check, state="optional" if check.state == "missing" else check.state) for check in checks.values()
    ]
    return [chosen, *others]


def _passed_over(settings: Settings) -> list[Check]:
    """Return what the shell has set that a stack of this folder does not use, so that nobody looks for its effect."""
    found = []
    names = accounts_named(os.environ)
    if names and ENGINES[settings.up_engine].own_account:
        hint = "The stack has an account of its own; --target aws uses yours."
        found.append(Check("aws account", "optional", f"not used here: {', '.join(names)}", hint))
    proxies = sorted(name for name in os.environ if name.lower() in _PROXIES and os.environ[name])
    if proxies:
        hint = "They count for what is elsewhere, such as the API of a provider."
        found.append(Check("proxy", "optional", f"not used for this machine: {', '.join(proxies)}", hint))
    return found


def _redis(settings: Settings) -> Check:
    if settings.redis_url:
        return Check("redis", "ok", "the one that redis.url names")
    return check_redis_server()


def _collector(settings: Settings) -> Check:
    try:
        if has_collector(settings):
            return Check("collector", "ok", "OpenTelemetry's packages are installed")
    except UsageError as error:
        return Check("collector", "missing", error.message, error.hint)
    if is_installed():
        return Check("collector", "optional", "switched off", "By up.otel, --otel or OTEL_SDK_DISABLED.")
    hint = "pip install 'cloudia-chat[otel]', for spans beside what `cloudia trace` draws."
    return Check("collector", "optional", "OpenTelemetry's packages are not installed", hint)


def _ports() -> Check:
    try:
        choose_port()
    except UsageError as error:
        return Check("ports", "missing", "no port on 127.0.0.1 can be had", error.hint)
    return Check("ports", "ok", "free ports on 127.0.0.1")


def _keys(settings: Settings) -> list[Check]:
    """Return a check of each provider that is named or has a key, and one of all the others."""
    try:
        named = {settings.up_llm, *(name for name, _ in named_routes(settings))}
    except UsageError as error:
        return [Check("llm.fallback", "missing", error.message, error.hint)]
    checks, others = [], []
    for spec in PROVIDERS.values():
        key = settings.accounts[spec.name].api_key
        if key:
            checks.append(Check(spec.name, "ok", shown(key, "key")))
        elif spec.name in named and spec.needs_key:
            hint = f"Set {spec.key_variable} for `cloudia up --llm {spec.name}`."
            checks.append(Check(spec.name, "missing" if spec.name == settings.up_llm else "optional", "no key", hint))
        elif spec.needs_key:
            others.append(spec.name)
    if others:
        hint = "Each has a variable for its key: docs/providers.md lists them."
        checks.append(Check("other llms", "optional", f"no key of {', '.join(others)}", hint))
    return checks


def _docker() -> Check:
    path = shutil.which("docker")
    if not path:
        return Check("docker", "optional", "not needed, and not here")
    try:
        return Check("docker", "ok", f"Docker {asyncio.run(check_docker())} at {path}")
    except PartError:
        hint = "Start it for `cloudia up --engine localstack`, which alone needs it."
        return Check("docker", "optional", f"{path}, but its daemon does not answer", hint)
