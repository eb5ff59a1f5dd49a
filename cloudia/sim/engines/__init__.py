"""The engines: what stands in for AWS, each a file with one class. Another is its file and its line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudia.errors import UsageError
from cloudia.sim.engines.answering import who_answers
from cloudia.sim.engines.endpoint import Endpoint
from cloudia.sim.engines.localstack import LocalStack
from cloudia.sim.engines.ministack import MiniStack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.settings import Settings
    from cloudia.sim.engines.engine import Engine

__all__ = ["ENGINES", "check_zips", "takes_zips"]

ENGINES: Mapping[str, type[Engine]] = {"ministack": MiniStack, "localstack": LocalStack, "endpoint": Endpoint}
"""By the names that `up.engine` takes."""
_LONGEST_NAME = 64  # https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
_LONGEST_FUNCTION = 24


def takes_zips(url: str) -> bool:
    """Ask what answers at a URL: whether it is an engine that the functions' zips are deployed to."""
    answering = who_answers(url)
    return answering is not None and any(
        engine.takes_zips and engine.title == answering.name for engine in ENGINES.values()
    )


def check_zips(settings: Settings) -> None:
    """Accept settings under which the functions can run from their zips. `UsageError` says what is in the way."""
    if not ENGINES[settings.up_engine].takes_zips:
        raise UsageError(
            f"the engine {settings.up_engine} has no HTTP API to put the functions behind",
            hint="Take --engine ministack, or leave the functions to the edge with --functions edge.",
        )
    if len(settings.stack_name) > _LONGEST_NAME - _LONGEST_FUNCTION:
        raise UsageError(
            f"the stack's name is too long for its functions' names: {len(settings.stack_name)} characters",
            hint=f"Lambda takes {_LONGEST_NAME} in all; choose a stack.name of {_LONGEST_NAME - _LONGEST_FUNCTION} or less.",
        )
