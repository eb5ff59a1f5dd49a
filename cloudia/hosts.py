"""Who may ask a part that speaks HTTP: what a request says of itself in Host, Origin and Sec-Fetch-Site. No I/O.

Every page that a browser of this machine shows can reach loopback. Three things betray one: a name of its own that was made
to point here (DNS rebinding) stands in Host, its origin in Origin, and what its browser says of it in Sec-Fetch-Site. A page
can change none of them: https://fetch.spec.whatwg.org/#forbidden-request-header
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cloudia.errors import ForbiddenError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Sequence

__all__ = ["check_host", "check_origin", "is_browser", "is_loopback", "page_origins"]

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{0,5})?")


def page_origins(port: int) -> list[str]:
    """Return the origins of a page that loopback serves at a port: by the names that lead there."""
    return [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost")]


def is_loopback(name: str) -> bool:
    """Tell whether a name or an address is this machine's own, whoever resolves it."""
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def check_host(hosts: Sequence[str], bound: str) -> None:
    """Refuse a request by its Host headers, which must be one (RFC 9112, 3.2); `bound` is where the part listens.

    What listens on loopback is asked by loopback's names. Elsewhere the name is that of a load balancer, which may also
    probe without any. Raises `InvalidRequestError` and `ForbiddenError`.
    """
    if len(hosts) > 1:
        raise InvalidRequestError("the request names more than one host", code="no_host")
    if not is_loopback(bound):
        return
    if not hosts:
        raise InvalidRequestError("the request names no host", code="no_host")
    named = _HOST.fullmatch(hosts[0])
    if named is None or not is_loopback(named[1]):
        raise ForbiddenError(
            "this is asked by the names of this machine only", hint="Use 127.0.0.1 or localhost.", code="not_local"
        )


def check_origin(origins: Sequence[str], hosts: Sequence[str], allowed: Collection[str]) -> None:
    """Refuse a page by its Origin headers: one that is not `allowed`, or, where none is named, not of the host that it asks.

    Who sends no Origin is no page. Raises `ForbiddenError`.
    """
    if not origins:
        return
    if len(origins) == 1:
        theirs = origins[0]
        host = theirs.partition("://")[2].lower()
        if theirs in allowed if allowed else host and [host] == [name.lower() for name in hosts]:
            return
    raise ForbiddenError("pages of this origin may not connect", hint="Name it in gateway.origins.", code="forbidden")


def is_browser(headers: Container[str]) -> bool:
    """Tell whether a browser made a request for a page; `headers` finds names in any case."""
    return "origin" in headers or "sec-fetch-site" in headers
