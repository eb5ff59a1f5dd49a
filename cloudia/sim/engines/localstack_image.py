"""LocalStack's image: whether it needs a token, and how its container is started. No I/O."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from cloudia.errors import UsageError
from cloudia.sim.ports import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FREE_IMAGE", "arguments", "check_token", "container_name", "needs_token"]

FREE_IMAGE = "localstack/localstack:4.14.0"
"""The last one that asks for no token."""
_FIRST_YEAR = 2026
"""From 2026.03.0 on every image asks for a token; those before are numbered 4.14.0 and lower."""
_PORT = 4566


def needs_token(image: str) -> bool:
    """Tell whether an image is known not to start without a token.

    Of `localstack/localstack` those from 2026.03.0 on, of which `latest` is one; `localstack-pro` always. Of an image of
    another name, and of one that only a digest names, nothing is known.
    """
    reference, _, digest = image.partition("@")
    name, _, tag = reference.rpartition("/")[2].partition(":")
    if name == "localstack-pro":
        return True
    if name != "localstack" or (digest and not tag):
        return False
    number = re.match(r"\d+", tag)
    return number is None or int(number[0]) >= _FIRST_YEAR


def check_token(image: str, token: str) -> None:
    """Accept an image that starts with this token. `UsageError` where it needs one and there is none."""
    if needs_token(image) and not token:
        raise UsageError(
            f"the image {image} needs a token of LocalStack",
            hint=f"Set LOCALSTACK_AUTH_TOKEN, or use {FREE_IMAGE}, the last image that needs none.",
            code="no_auth_token",
        )


def container_name(folder: Path) -> str:
    """Return the name of the container of a project's folder: the same one each time, so that one left behind is found."""
    return f"cloudia-localstack-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def arguments(image: str, port: int, *, token: bool) -> list[str]:
    """Return what `docker run` is told: published on loopback only, answers that name the published port, nothing sent home.

    The token is named, not given: its value comes from the environment, which no list of processes shows.
    """
    variables = [
        f"LOCALSTACK_HOST={LOOPBACK}:{port}",
        "SQS_ENDPOINT_STRATEGY=path",
        "DISABLE_EVENTS=1",
        "SKIP_SSL_CERT_DOWNLOAD=1",
        *(["LOCALSTACK_AUTH_TOKEN"] if token else []),
    ]
    environment = [word for variable in variables for word in ("--env", variable)]
    return ["--publish", f"{LOOPBACK}:{port}:{_PORT}", *environment, image]
