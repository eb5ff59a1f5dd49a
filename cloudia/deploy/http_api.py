"""Where the HTTP API of a stack is when the engine serves it, and which engine can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudia.errors import UsageError
from cloudia.sim.engines.endpoint import who_answers

if TYPE_CHECKING:
    from cloudia.settings import Settings

__all__ = ["API_ID_TAG", "check_zips", "http_api_url", "takes_zips"]

API_ID_TAG = "ms-custom-id"
"""MiniStack gives an API the id that this tag names, so its URL is known before the API is there, and outlives a restart."""
_LONGEST_NAME = 64  # https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
_LONGEST_FUNCTION = 24


def http_api_url(engine_url: str, stack_name: str) -> str:
    """Return the URL of a stack's HTTP API. By its path: names under `*.localhost` do not resolve everywhere."""
    return f"{engine_url}/_aws/execute-api/{stack_name}"


def takes_zips(url: str) -> bool:
    """Ask what answers at a URL: whether it is an engine that the functions' zips are deployed to."""
    answering = who_answers(url)
    return answering is not None and answering.name == "MiniStack"


def check_zips(settings: Settings) -> None:
    """Accept settings under which the functions can run from their zips. `UsageError` says what is in the way."""
    if settings.up_engine != "ministack":
        raise UsageError(
            f"the engine {settings.up_engine} has no HTTP API to put the functions behind",
            hint="Take --engine ministack, or leave the functions to the edge with --functions edge.",
        )
    if len(settings.stack_name) > _LONGEST_NAME - _LONGEST_FUNCTION:
        raise UsageError(
            f"the stack's name is too long for its functions' names: {len(settings.stack_name)} characters",
            hint=f"Lambda takes {_LONGEST_NAME} in all; choose a stack.name of {_LONGEST_NAME - _LONGEST_FUNCTION} or less.",
        )
