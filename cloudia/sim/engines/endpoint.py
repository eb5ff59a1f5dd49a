"""The engine of the user's own: whatever answers as AWS at `aws.endpoint_url`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from cloudia.errors import UsageError
from cloudia.sim.checks import Check
from cloudia.sim.engines.answering import check_answers, open_to_pages, who_answers
from cloudia.sim.engines.engine import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.settings import Settings
    from cloudia.sim.engines.engine import Folders

__all__ = ["Endpoint"]


class Endpoint:
    """A URL; what it stands for is the user's to start, and so are its credentials."""

    title: ClassVar[str] = ""
    takes_zips: ClassVar[bool] = False
    own_account: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self._url = settings.aws_endpoint_url

    def check(self) -> Check:
        """Return what answers there."""
        if not self._url:
            return Check("endpoint", "missing", "endpoint, no URL", "Set AWS_ENDPOINT_URL.")
        try:
            found = who_answers(self._url)
        except UsageError as error:
            return Check("endpoint", "missing", error.message, error.hint)
        if found is None:
            return Check(
                "endpoint", "missing", f"nothing answers at {self._url}", "Start it, or use --engine ministack."
            )
        return Check("endpoint", "ok", f"{found} at {self._url}", open_to_pages(self._url))

    async def prepare(
        self,
        folders: Folders,  # noqa: ARG002 - an engine
        port: Callable[[], int],  # noqa: ARG002 - an engine
        say: Callable[[str], None],  # noqa: ARG002 - an engine
    ) -> EngineSpec:
        """Ask whether anything answers there."""
        if not self._url:
            raise UsageError("the engine `endpoint` has no URL", hint="Set AWS_ENDPOINT_URL to where it listens.")
        await asyncio.to_thread(check_answers, self._url)
        return EngineSpec(self._url)
