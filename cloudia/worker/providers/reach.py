"""How a provider is reached: what an adapter is made of. Imports no SDK and no transport."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    import httpx2

__all__ = ["Address", "Reach"]


@dataclass(frozen=True, slots=True)
class Address:
    """A base URL, its query apart: the SDKs put their paths behind it. Azure's has one, `?api-version=…`."""

    url: str
    query: dict[str, str]

    @classmethod
    def of(cls, base_url: str) -> Address:
        """Return the parts of a URL as it is configured."""
        parts = urlsplit(base_url)
        return cls(urlunsplit(parts._replace(query="", fragment="")), dict(parse_qsl(parts.query)))

    @property
    def shown(self) -> str:
        """The URL, without a user and a password in it."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a provider is reached, and what is added to each of its requests."""

    name: str
    url: str
    """The base URL, maybe with a query."""
    api_key: str
    key_setting: str
    """The setting of the key, and the variable that it is usual in."""
    timeout: httpx2.Timeout
    verify: ssl.SSLContext | bool = True
    """Which certificates are trusted."""
    region: str = ""
    """AWS's, of a provider whose requests are signed by AWS's credentials where there is no key."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    extra_query: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> Address:
        """The URL's parts."""
        return Address.of(self.url)
