"""The cloud that the functions of a process stand on, made once from its environment."""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.cloud.cloud import Cloud
from cloudia.errors import UsageError
from cloudia.settings import from_environment, secrets_in

if TYPE_CHECKING:
    from cloudia.settings import Settings
    from cloudia.stack import Stack

__all__ = ["in_lambda", "services"]

_IN_LAMBDA = "AWS_LAMBDA_FUNCTION_NAME"


def in_lambda() -> bool:
    """Tell whether this process is Lambda's, which freezes it between two calls."""
    return _IN_LAMBDA in os.environ


def _listen(settings: Settings, stack: Stack) -> None:
    """Tell the listeners that are named. A function's zip may lack a module, and that must not refuse a message."""
    try:
        telemetry.start_listening(
            "api",
            listener=settings.telemetry_listener,
            stack=stack.name,
            queue=stack.jobs_queue.name,
            slow_seconds=settings.telemetry_slow_seconds,
        )
    except UsageError as error:
        telemetry.log("listener not loaded", level=logging.WARNING, reason=error.message)


@cache
def services() -> Cloud:
    """Return this process's cloud. Lambda keeps a process warm, and its clients with it."""
    settings = from_environment()
    if in_lambda():  # Elsewhere the logs are those of the process around.
        name, level = os.environ[_IN_LAMBDA], settings.log_level
        telemetry.configure_logs(name, level, tracebacks=settings.log_tracebacks, secrets=secrets_in(settings))
    cloud = Cloud(settings)
    _listen(settings, cloud.stack)
    return cloud
