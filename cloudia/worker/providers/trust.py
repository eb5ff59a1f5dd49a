"""Which certificates of providers are trusted: those of the machine, and those of a private authority that is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from cloudia.errors import UsageError

if TYPE_CHECKING:
    import ssl

__all__ = ["trusting"]


def trusting(ca_bundle: str) -> ssl.SSLContext | bool:
    """Return what trusts the authorities of a file or a folder beside the machine's; where none is named, REQUESTS_CA_BUNDLE's.

    What SSL_CERT_FILE names stands for the machine's, as it does for httpx and OpenSSL. True where only these are trusted.
    `UsageError` where there are no certificates.
    """
    path = ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE", "")
    if not path:
        return True
    context = httpx2.create_ssl_context()
    try:
        context.load_verify_locations(**{"capath" if Path(path).is_dir() else "cafile": path})
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"there are no certificates in {path}",
            hint="llm.ca_bundle or REQUESTS_CA_BUNDLE names a file of them, in PEM, or a folder as OpenSSL has it.",
        ) from error
    return context
