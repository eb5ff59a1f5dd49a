"""How the SDKs reach a provider, and what their errors mean: who failed, and what whoever reads it can do.

Over aiohttp, the SDKs' other transport, a stream costs the worker little more than half of the CPU. It maps a refused
connection, a name that does not resolve and TLS alike to a timeout; what really happened is further down the chain of causes.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import httpx2
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError

from cloudia.worker.providers.base import ProviderError
from cloudia.worker.providers.pauses import pause_of_headers, pause_until_reset
from cloudia.worker.providers.refusals import Refusal, refusal_in_stream, refusal_of_status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from types import ModuleType

    from cloudia.worker.providers.base import Cause
    from cloudia.worker.providers.reach import Reach

__all__ = ["Failures", "client_options"]

_NO_KEY = "none"
"""What is said to a server that asks for no key: an SDK does without none."""
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_VERSION = re.compile(r"/v\d")

_NAMES = (socket.gaierror, aiohttp.ClientConnectorDNSError)
_FIELD_ADVICE = {
    "max_tokens": "Lower llm.max_tokens: the model may not give so many.",
    "max_completion_tokens": "Lower llm.max_tokens: the model may not give so many.",
}
_SENSELESS = (ValueError, LookupError, TypeError, AttributeError)
"""What reading an answer that makes no sense ends in."""
_TLS = (ssl.SSLError, ssl.CertificateError, aiohttp.ClientSSLError)
_PROXY = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError, httpx2.ProxyError)
_NO_HTTP = (HttpProcessingError, aiohttp.ClientResponseError)
_CONNECTOR = (aiohttp.ClientConnectorError,)
_TRUST = "Does it speak https, with a certificate that is trusted here (llm.ca_bundle names more authorities)?"


def client_options(sdk: ModuleType, reach: Reach) -> dict[str, Any]:
    """Return what an SDK's client is made with: its own retries off, for they have one owner, and it is the worker."""
    address, timeout = reach.address, reach.timeout
    access = {"aws_region": reach.region, "api_key": reach.api_key or None} if reach.region else None
    return {
        **(access or {"api_key": reach.api_key or _NO_KEY}),
        "base_url": address.url,
        "max_retries": 0,
        "timeout": timeout,
        "default_headers": dict(reach.extra_headers),
        "default_query": {**address.query, **reach.extra_query},
        "http_client": sdk.DefaultAioHttpClient(
            timeout=timeout, mounts=_direct_hosts(address.url), verify=reach.verify
        ),
    }


def _direct_hosts(url: str) -> dict[str, None]:
    """Return the hosts that are reached directly, whatever proxies the environment names: this machine's own."""
    hosts = set(_LOOPBACK)
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback and ":" not in host:
            hosts.add(host)
    return {f"all://{host}": None for host in hosts}


class Failures:
    """Makes of whatever a call ends with a `ProviderError`. `sdk` is the SDK's module, `path` what it puts behind the URL."""

    def __init__(self, sdk: ModuleType, reach: Reach, *, path: str) -> None:
        self._sdk: Any = sdk
        self._name = reach.name
        self._address = reach.address
        self._path = path
        self._key = reach.key_setting
        self._signs = bool(reach.region and not reach.api_key)

    def of(self, error: Exception, *, model: str, sent: Collection[str] = ()) -> ProviderError:
        """Return what an exception of the SDK, of its transport, or of reading the stream says.

        `sent` are the fields that the request can do without.
        """
        if isinstance(error, self._sdk.APIStatusError):
            status: Any = error
            body = status.response.content if status.response.is_stream_consumed else b""
            refusal = refusal_of_status(status.status_code, body, sent=sent)
            return self._refused(
                refusal,
                f"{self._name} answered {status.status_code}",
                model=model,
                status=status.status_code,
                headers=status.response.headers,
            )
        if isinstance(
            error, self._sdk.APIError | httpx2.HTTPError | aiohttp.ClientError | HttpProcessingError | OSError
        ):
            return self._broken(error)
        if self._signs and not isinstance(
            error, _SENSELESS
        ):  # What the SDKs and botocore raise has no class in common.
            advice = f"Give the worker a role, or set {self._key}."
            return ProviderError(
                "rejected", f"there are no AWS credentials for {self._name}", cause="key", advice=advice
            )
        return self._unavailable(f"{self._name} answered with something that makes no sense")

    def in_stream(self, error: Any, *, model: str) -> ProviderError:
        """Return what an error says that came as an event."""
        return self._refused(refusal_in_stream(error), f"{self._name} reported an error in its stream", model=model)

    def cut(self) -> ProviderError:
        """Return what it means that a stream ended without an end."""
        return self._unavailable(f"{self._name}'s answer ended in the middle")

    def nothing(self, response: httpx2.Response) -> ProviderError:
        """Return what it means that an answer had no event at all."""
        kind = response.headers.get("content-type") or "no type"
        return self._unavailable(
            f"{self._name} answered without any event of an event stream ({kind[:40]})",
            f"Does the base URL {self._address.shown} lead to an API that streams?",
        )

    def no_stream(self, what: str) -> ProviderError:
        """Return what it means that an answer is a page or a document that is no answer."""
        return self._unavailable(
            f"{self._name} answered {what} instead of an event stream",
            f"Does the base URL {self._address.shown} lead to an API that streams, with no login or proxy before it?",
        )

    def _refused(
        self,
        refusal: Refusal,
        reason: str,
        *,
        model: str,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ProviderError:
        if refusal.field:
            reason += f": it refuses {refusal.field}"
        advice = _FIELD_ADVICE.get(refusal.field or "") or self._advice(refusal.cause, model)
        return ProviderError(
            refusal.kind,
            reason,
            cause=refusal.cause,
            advice=advice,
            field=refusal.field,
            status=status,
            retry_after=_pause(refusal, headers or {}),
        )

    def _advice(self, cause: Cause | None, model: str) -> str:
        url = self._address.shown
        advice: dict[Cause | None, str] = {
            "key": f"Check the API key, {self._key}.",
            "quota": "The account's quota or credit is used up: see the provider's billing page.",
            "forbidden": "This key is not allowed to do this, or not from this country or region.",
            "model": f"There is no model {model} at {url}, or this key may not use it: set llm.model.",
            "url": f"There is nothing at {url}{self._path}, or no model {model}: {self._version_advice()}",
            "context": "The conversation is too long for the model's context: begin a new one, or shorten the message.",
            "policy": "Its content policy forbids this message: write it otherwise.",
            "tools": f"{model} or its server takes no tools: set llm.model to one that does, or start the server with them.",
        }
        return advice.get(cause, "")

    def _version_advice(self) -> str:
        """Return what may be wrong with the base URL: an API's version stands in it, or in the path that is put behind it."""
        in_url, in_path = (bool(_VERSION.search(path)) for path in (urlsplit(self._address.url).path, self._path))
        if in_url and in_path:
            return "leave the version out of the base URL, it is in the path already."
        return "check the base URL." if in_url or in_path else "does the base URL lack /v1?"

    def _broken(self, error: Exception) -> ProviderError:
        """Return what a connection's end says, by the deepest cause that tells."""
        url, name, chain = self._address.shown, self._name, list(_causes(error))
        secure = url.startswith("https:")
        meanings: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
            (_NAMES, f"cannot connect to {name}: the name of {url} does not resolve", "Check the base URL."),
            (_TLS, f"cannot connect to {name}: TLS with {url} failed", _TRUST),
            (
                (ConnectionRefusedError,),
                f"cannot connect to {name}: the connection is refused, nothing listens at {url}",
                "Start it, or correct the base URL.",
            ),
            (_PROXY, f"cannot reach {name} through the proxy", "HTTPS_PROXY and NO_PROXY say which is used."),
            ((PayloadEncodingError,), f"the call to {name} broke off", ""),
            (_NO_HTTP, f"{name} does not answer in HTTP at {url}", "Is it the port of another service, or of https?"),
            ((TimeoutError,), f"{name} did not answer in time", ""),
            ((httpx2.UnsupportedProtocol,), f"{url} is no URL of http or https", "Correct the base URL."),
            *(((_CONNECTOR, f"cannot connect to {name}: TLS with {url} failed", _TRUST),) if secure else ()),
            (_CONNECTOR, f"cannot connect to {name} at {url}", "Check the base URL."),
        )
        for kinds, reason, advice in meanings:
            if any(isinstance(cause, kinds) for cause in chain):
                return self._unavailable(reason, advice)
        broken = f"the call to {name} broke off ({type(chain[-1]).__name__})"
        return self._unavailable(broken, _TRUST if secure else "")

    def _unavailable(self, reason: str, advice: str = "") -> ProviderError:
        return ProviderError("unavailable", reason, advice=advice)


def _pause(refusal: Refusal, headers: Mapping[str, str]) -> float | None:
    """Return the seconds for which a refusal asks to be left alone."""
    told = pause_of_headers(headers)
    if told is None:
        told = refusal.pause
    return pause_until_reset(headers) if told is None and refusal.kind == "rate_limited" else told


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, which aiohttp keeps in `os_error` too."""
    seen: list[BaseException | None] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        seen.append(at)
        yield at
        inner = getattr(at, "os_error", None)
        if isinstance(inner, BaseException):
            yield inner
            if isinstance(inner, OSError) and inner.errno == errno.ECONNREFUSED:  # One error for several addresses.
                yield ConnectionRefusedError()
        at = at.__cause__ or at.__context__
