"""LocalStack: the one that runs, else a container of the stack's own."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, ClassVar

from cloudia.errors import CloudiaError, PartError, UsageError
from cloudia.passwords import without_secrets
from cloudia.sim.checks import Check, shown
from cloudia.sim.engines import docker, localstack_image
from cloudia.sim.engines.answering import open_to_pages, who_answers
from cloudia.sim.engines.engine import EngineSpec
from cloudia.sim.ports import LOOPBACK
from cloudia.sim.spec import PartSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudia.settings import Settings
    from cloudia.sim.engines.answering import Answering
    from cloudia.sim.engines.engine import Folders

__all__ = ["DEFAULT_URL", "LocalStack", "check_services"]

DEFAULT_URL = "http://127.0.0.1:4566"
_SERVICES = ("dynamodb", "sqs", "ssm")
_READY_SECONDS = 120.0
_GRACE_SECONDS = 30.0
"""Longer than the removal of a container may take."""


class LocalStack:
    """The LocalStack at the user's URL, or where it usually is; where none runs, its container through Docker."""

    title: ClassVar[str] = "LocalStack"
    takes_zips: ClassVar[bool] = False
    own_account: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._given_url = settings.aws_endpoint_url
        self._url = settings.aws_endpoint_url or DEFAULT_URL
        self._image = settings.localstack_image
        self._token = settings.localstack_auth_token
        self._persist = settings.up_persist

    def check(self) -> Check:
        """Return what `prepare` would do: use one that runs, or start its container."""
        token = f", {shown(self._token, 'token')}" if self._token else ""
        try:
            found = who_answers(self._url)
            if found and found.name == self.title:
                check_services(found)
                return Check("localstack", "ok", f"{found} at {self._url}", open_to_pages(self._url))
            if self._given_url:
                return Check(
                    "localstack",
                    "missing",
                    f"no LocalStack answers at {self._url}",
                    "Start it, or unset AWS_ENDPOINT_URL.",
                )
            localstack_image.check_token(self._image, self._token)
            version = asyncio.run(docker.check_docker())
            there = asyncio.run(docker.has_image(self._image))
        except CloudiaError as error:
            return Check("localstack", "missing", error.message, error.hint)
        first = "" if there else ", pulled by the first `cloudia up --engine localstack`"
        return Check("localstack", "ok", f"{self._image} in Docker {version}{token}{first}")

    async def prepare(self, folders: Folders, port: Callable[[], int], say: Callable[[str], None]) -> EngineSpec:
        """Return the one that runs; else have its image here, and say how its container is started."""
        found = await asyncio.to_thread(who_answers, self._url)
        if found and found.name == self.title:
            check_services(found)
            say(f"using {found} at {self._url}")
            return EngineSpec(self._url)
        if self._given_url:
            raise PartError(
                f"{found} answers at {self._url}, not LocalStack" if found else f"no LocalStack answers at {self._url}",
                hint="Use --engine endpoint for it."
                if found
                else "Start it, or unset AWS_ENDPOINT_URL to have one started.",
                code="engine_unavailable",
            )
        if self._persist:
            raise UsageError(
                "LocalStack's container keeps no data across down and up",
                hint="Leave --persist away, or run LocalStack yourself and have it keep its own.",
            )
        localstack_image.check_token(self._image, self._token)
        await docker.check_docker()
        await docker.get_image(self._image, say)
        return self._container(folders.project, port())

    def _container(self, folder: Path, port: int) -> EngineSpec:
        url = f"http://{LOOPBACK}:{port}"
        name = localstack_image.container_name(folder)

        async def ready(_pid: int) -> bool:
            found = await asyncio.to_thread(who_answers, url)
            if not found or not found.name:
                return False
            check_services(found)
            return True

        run = localstack_image.arguments(self._image, port, token=bool(self._token))
        part = PartSpec(
            "engine",
            [sys.executable, "-P", "-m", "cloudia.sim.engines.docker", name, *run],
            without_secrets(os.environ) | ({"LOCALSTACK_AUTH_TOKEN": self._token} if self._token else {}),
            ready,
            f"{self._image} in Docker",
            grace_seconds=_GRACE_SECONDS,
            ready_seconds=_READY_SECONDS,
        )
        return EngineSpec(url, part=part, container=name)


def check_services(found: Answering) -> None:
    """Accept a LocalStack that has all that a stack stands on. `PartError` names what it lacks."""
    missing = [name for name in _SERVICES if name not in found.services]
    if missing:
        raise PartError(
            f"{found} has no {' and no '.join(missing)}",
            hint=f"Its SERVICES must have {','.join(_SERVICES)}, or nothing; or use --engine ministack.",
            code="service_missing",
        )
