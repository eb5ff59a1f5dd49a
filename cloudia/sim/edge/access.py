"""The page's way in: the code in its address is traded, once, for a cookie and a key; both together open it. No I/O.

A browser sends the cookies of a host to each of its ports, also to what another user of this machine serves there. So the
cookie alone opens nothing; the key is kept by the page in the storage of its origin, which has the port in it.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PageAccess"]


class PageAccess:
    """What opens the page of one stack. All of it follows from `secret`, so that a restart of the edge changes nothing."""

    def __init__(self, secret: str, port: int) -> None:
        self._secret = secret
        self.cookie_name = f"cloudia-{port}"
        """With the port, for two stacks share a host."""
        self.cookie, self.key = self._made("cookie"), self._made("key")

    def knows(self, cookies: Mapping[str, str], key: str) -> bool:
        """Tell whether both that the code was traded for are there."""
        return _same(cookies.get(self.cookie_name, ""), self.cookie) & _same(key, self.key)

    def _made(self, purpose: str) -> str:
        return hmac.digest(self._secret.encode(), purpose.encode(), "sha256").hex()


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())
