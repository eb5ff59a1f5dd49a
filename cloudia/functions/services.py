"""The cloud that the functions of a process stand on, made once from its environment."""

from __future__ import annotations

import os
from functools import cache

from cloudia import telemetry
from cloudia.cloud.cloud import Cloud
from cloudia.settings import from_environment

__all__ = ["services"]

_IN_LAMBDA = "AWS_LAMBDA_FUNCTION_NAME"


@cache
def services() -> Cloud:
    """Return this process's cloud. Lambda keeps a process warm, and its clients with it."""
    settings = from_environment()
    if _IN_LAMBDA in os.environ:  # Elsewhere the logs are those of the process around.
        telemetry.configure_logs(os.environ[_IN_LAMBDA], settings.log_level)
    return Cloud(settings)
