"""The engines: what stands in for AWS, each with the part it needs, the URL it is at, and a line for the user."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.errors import UsageError
from cloudia.sim import endpoint, ministack
from cloudia.sim.part import PartSpec
from cloudia.sim.ports import LOOPBACK, choose_port
from cloudia.sim.probes import http_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudia.settings import Settings

__all__ = ["Engine", "choose_engine"]


@dataclass(frozen=True, slots=True)
class Engine:
    """What stands in for AWS in one stack."""

    url: str
    own_account: bool
    """Its account is nobody's: parts get stand-in credentials, never those of the user."""
    part: PartSpec | None = None
    """What has to run for it; None where it runs elsewhere."""


async def choose_engine(
    settings: Settings, *, temporary: Path, data: Path | None, say: Callable[[str], None]
) -> Engine:
    """Return the engine that `up.engine` names. One that runs elsewhere is asked whether it answers.

    `say` is told of what takes long; where this is cancelled, that ends. `UsageError` and `PartError` say what is missing.
    """
    if settings.up_engine == "ministack":
        return await _ministack(temporary, data, say)
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
