"""The engines: what stands in for AWS, each with the URL it is at and the part it needs."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.errors import PartError, UsageError
from cloudia.sim.engines import docker, endpoint, localstack, ministack
from cloudia.sim.ports import LOOPBACK, choose_port
from cloudia.sim.probes import http_json
from cloudia.sim.spec import PartSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudia.settings import Settings

__all__ = ["Engine", "choose_engine"]

_CONTAINER_READY_SECONDS = 120.0
_CONTAINER_GRACE_SECONDS = 30.0
"""Longer than the removal of a container may take."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What stands in for AWS in one stack."""

    url: str
    own_account: bool
    """Its account is nobody's: parts get stand-in credentials, never those of the user."""
    part: PartSpec | None = None
    """What has to run for it; None where it runs elsewhere."""
    container: str = ""
    """The container that the part runs in, which does not end with its process."""


async def choose_engine(
    settings: Settings, folder: Path, *, temporary: Path, data: Path | None, say: Callable[[str], None]
) -> Engine:
    """Return the engine that `up.engine` names. One that runs elsewhere is asked whether it answers.

    `say` is told of what takes long; where this is cancelled, that ends. `UsageError` and `PartError` say what is missing.
    """
    if settings.up_engine == "ministack":
        return await _ministack(temporary, data, say)
    if settings.up_engine == "localstack":
        return await _localstack(settings, folder, say)
    return await _endpoint(settings.aws_endpoint_url)


async def _ministack(temporary: Path, data: Path | None, say: Callable[[str], None]) -> Engine:
    port = choose_port()
    url = f"http://{LOOPBACK}:{port}"
    kept = data / "ministack" if data else None
    if kept:
        kept.mkdir(exist_ok=True)

    async def ready(_pid: int) -> bool:
        await http_json(f"{url}/_ministack/ready")
        return True

    part = PartSpec(
        "engine",
        [await ministack.find_python(say), "-P", "-m", "ministack"],
        ministack.environment(port, temporary=temporary, data=kept),
        ready,
        f"MiniStack {ministack.VERSION}",
    )
    return Engine(url, own_account=True, part=part)


async def _endpoint(url: str) -> Engine:
    if not url:
        raise UsageError("the engine `endpoint` has no URL", hint="Set AWS_ENDPOINT_URL to where it listens.")
    await asyncio.to_thread(endpoint.check_answers, url)
    return Engine(url, own_account=False)


async def _localstack(settings: Settings, folder: Path, say: Callable[[str], None]) -> Engine:
    """Return the LocalStack that runs, at the user's URL or where it usually is; else a container of our own."""
    url = settings.aws_endpoint_url or localstack.DEFAULT_URL
    found = await asyncio.to_thread(endpoint.who_answers, url)
    if found and found.name == "LocalStack":
        localstack.check_services(found)
        say(f"using {found} at {url}")
        return Engine(url, own_account=True)
    if settings.aws_endpoint_url:
        raise PartError(
            f"{found} answers at {url}, not LocalStack" if found else f"no LocalStack answers at {url}",
            hint="Use --engine endpoint for it."
            if found
            else "Start it, or unset AWS_ENDPOINT_URL to have one started.",
            code="engine_unavailable",
        )
    if settings.up_persist:
        raise UsageError(
            "LocalStack's container keeps no data across down and up",
            hint="Leave --persist away, or run LocalStack yourself and have it keep its own.",
        )
    return await _localstack_container(settings, folder, say)


async def _localstack_container(settings: Settings, folder: Path, say: Callable[[str], None]) -> Engine:
    image, token = settings.localstack_image, settings.localstack_auth_token
    localstack.check_token(image, token)
    await docker.check_docker()
    await docker.get_image(image, say)
    port = choose_port()
    url = f"http://{LOOPBACK}:{port}"
    name = localstack.container_name(folder)

    async def ready(_pid: int) -> bool:
        found = await asyncio.to_thread(endpoint.who_answers, url)
        if not found or not found.name:
            return False
        localstack.check_services(found)
        return True

    part = PartSpec(
        "engine",
        [
            sys.executable,
            "-P",
            "-m",
            "cloudia.sim.engines.docker",
            name,
            *localstack.arguments(image, port, token=bool(token)),
        ],
        {**os.environ, "LOCALSTACK_AUTH_TOKEN": token} if token else os.environ,
        ready,
        f"{image} in Docker",
        grace_seconds=_CONTAINER_GRACE_SECONDS,
        ready_seconds=_CONTAINER_READY_SECONDS,
    )
    return Engine(url, own_account=True, part=part, container=name)
