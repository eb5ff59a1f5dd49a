"""The engine `endpoint`: whatever answers as AWS at a URL of the user's."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from cloudia.errors import PartError, UsageError

__all__ = ["check_answers", "check_url"]

_SECONDS = 5.0


def check_url(url: str) -> None:
    """Accept a URL that a client of AWS can use. `UsageError` where it is none."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"{url!r} is not a URL of AWS", hint="AWS_ENDPOINT_URL is such as http://127.0.0.1:4566.")


def check_answers(url: str) -> None:
    """Ask whether anything answers at a URL, whatever it says. `PartError` where nothing does."""
    check_url(url)
    try:
        urllib.request.urlopen(url, timeout=_SECONDS).close()  # noqa: S310 - its scheme was checked
    except (urllib.error.HTTPError, http.client.HTTPException):
        return
    except OSError as error:
        if isinstance(getattr(error, "reason", error), ssl.SSLError):
            return  # boto3 has certificates of its own
        raise PartError(
            f"no engine answers at {url}", hint="Start it, or use --engine ministack.", code="engine_unavailable"
        ) from error
