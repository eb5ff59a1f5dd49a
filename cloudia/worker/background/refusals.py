"""What AWS refuses to this worker: a line of the log when it begins and when it is over, and told by the probes meanwhile."""

from __future__ import annotations

import logging

from cloudia import telemetry
from cloudia.errors import CloudiaError, RefusedError, UnavailableError

__all__ = ["Refusals"]


class Refusals:
    """The refusals that stand, by what the worker was doing. Work goes on around them, for somebody may mend them."""

    def __init__(self) -> None:
        self._standing: dict[str, str] = {}

    def failed(self, doing: str, error: Exception) -> None:
        """Learn of a failure. One that may pass by itself is no refusal."""
        if doing in self._standing or (isinstance(error, UnavailableError) and not isinstance(error, RefusedError)):
            return
        if isinstance(error, CloudiaError):
            self._standing[doing] = error.message
            telemetry.log(
                "refused", level=logging.ERROR, doing=doing, code=error.code, reason=error.message, hint=error.hint
            )
        else:
            self._standing[doing] = type(error).__name__
            telemetry.log("refused", level=logging.ERROR, doing=doing, exc_info=error)

    def worked(self, doing: str) -> None:
        """Learn that it is refused no longer."""
        if self._standing.pop(doing, None):
            telemetry.log("no longer refused", doing=doing)

    def told(self) -> dict[str, str]:
        """Return the reason of each refusal, one sentence, by what the worker was doing."""
        return dict(self._standing)
