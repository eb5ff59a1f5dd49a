"""Who sends: the resource of all signals of a process. Part of the extra `otel`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from cloudia import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["resource_of"]


def resource_of(part: str, stack: str) -> Resource:
    """Return the resource of a part of a stack; what OpenTelemetry's variables say goes before."""
    named = {
        "service.name": f"cloudia-{part}",
        "service.namespace": stack,
        "service.version": __version__,
        "service.instance.id": os.urandom(8).hex(),
        **dict(_function()),
    }
    return Resource.create(named).merge(OTELResourceDetector().detect())


def _function() -> Iterator[tuple[str, str]]:
    """Yield what Lambda says of the function that this is, if it is one: https://opentelemetry.io/docs/specs/semconv/faas/."""
    variables = {
        "faas.name": "AWS_LAMBDA_FUNCTION_NAME",
        "faas.version": "AWS_LAMBDA_FUNCTION_VERSION",
        "faas.instance": "AWS_LAMBDA_LOG_STREAM_NAME",
        "cloud.region": "AWS_REGION",
    }
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        yield "cloud.provider", "aws"
        yield "cloud.platform", "aws_lambda"
        yield from ((name, os.environ[variable]) for name, variable in variables.items() if os.environ.get(variable))
