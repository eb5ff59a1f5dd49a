"""The code in the page's address: it opens the page once, and the next one takes its place, in a file of its own."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from cloudia.private_file import write_private

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PageCode"]

_BYTES = 16
"""Of what stands in an address that people copy."""


class PageCode:
    """The code that opens the page of a stack next."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> str:
        """Return it, made on the first call. `OSError` where that cannot be."""
        try:
            return self._path.read_text() or self._new()
        except FileNotFoundError:
            return self._new()

    def spend(self, code: str) -> bool:
        """Tell whether this is the code; it is no longer, then. `OSError` where that cannot be noted."""
        if not hmac.compare_digest(code.encode(), self.now().encode()):
            return False
        self._new()
        return True

    def _new(self) -> str:
        code = secrets.token_urlsafe(_BYTES)
        write_private(self._path, code)
        return code
