"""Whatever answers as AWS at a URL of the user's: whether anything does, and what it says it is."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cloudia.direct import opener
from cloudia.errors import PartError, UsageError

__all__ = ["Answering", "check_answers", "check_url", "open_to_pages", "who_answers"]

_SECONDS = 5.0
_MOST_BYTES = 1024 * 1024
_FOREIGN = "http://page.invalid"
_NOT_USABLE = frozenset({"disabled", "error"})


@dataclass(frozen=True, slots=True)
class Answering:
    """What answers at a URL, as it says itself. Without a name it says nothing that we know."""

    name: str = ""
    """`MiniStack` or `LocalStack`."""
    version: str = ""
    edition: str = ""
    services: frozenset[str] = frozenset()
    """Those that can be used."""

    def __str__(self) -> str:
        if not self.name:
            return "an unknown service"
        edition = f", {self.edition} edition" if self.edition else ""
        return f"{self.name} {self.version}{edition}"


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
        opener(url).open(url, timeout=_SECONDS).close()
    except (urllib.error.HTTPError, http.client.HTTPException):
        return
    except OSError as error:
        if isinstance(getattr(error, "reason", error), ssl.SSLError):
            return  # boto3 has certificates of its own
        raise PartError(
            f"no engine answers at {url}", hint="Start it, or use --engine ministack.", code="engine_unavailable"
        ) from error


def who_answers(url: str) -> Answering | None:
    """Ask what answers at a URL, None where nothing does. `UsageError` where it is no URL.

    MiniStack answers LocalStack's question as well, so it is asked its own one first.
    """
    check_url(url)
    known = Answering()
    for name, path in (("MiniStack", "/_ministack/health"), ("LocalStack", "/_localstack/health")):
        try:
            told = _ask(url.rstrip("/") + path)
        except (urllib.error.HTTPError, http.client.HTTPException, ValueError):
            continue
        except OSError as error:
            if isinstance(getattr(error, "reason", error), ssl.SSLError):
                return known
            return None
        if isinstance(told, dict) and isinstance(told.get("services"), dict):
            usable = frozenset(name for name, state in told["services"].items() if state not in _NOT_USABLE)
            return Answering(name, str(told.get("version", "")), str(told.get("edition", "")), usable)
    return known


def open_to_pages(url: str) -> str:
    """Ask as a web page of elsewhere would. Return by what way one can use what answers at a URL; empty where it refuses both.

    The ways are CORS, which lets a page of another origin read answers, and another Host, which is what DNS rebinding sends.
    """
    try:
        plain, _ = _status(url)
        crossed, allowed = _status(url, Origin=_FOREIGN, **{"Sec-Fetch-Site": "cross-site"})
        named, _ = _status(url, Host=urlsplit(_FOREIGN).netloc)
    except (OSError, http.client.HTTPException):
        return ""
    ways = []
    if crossed == plain and allowed in {"*", _FOREIGN}:
        ways.append(f"to another origin it answers {crossed} with Access-Control-Allow-Origin: {allowed}")
    if named == plain:
        ways.append(f"to another Host it answers {named}")
    return f"A web page could use it: {', and '.join(ways)}." if ways else ""


def _status(url: str, **headers: str) -> tuple[int, str]:
    """Return the status of a GET, and what it says of the origins that are allowed."""
    request = urllib.request.Request(url.rstrip("/") + "/_localstack/health", headers=headers)  # noqa: S310 - it was checked
    try:
        with opener(url).open(request, timeout=_SECONDS) as response:
            return response.status, response.headers.get("Access-Control-Allow-Origin", "")
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Access-Control-Allow-Origin", "")


def _ask(url: str) -> Any:
    with opener(url).open(url, timeout=_SECONDS) as response:
        return json.loads(response.read(_MOST_BYTES))
