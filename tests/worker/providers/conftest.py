"""The adapters are tried through a real HTTP exchange, with the official SDKs in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.worker.providers.server import Server, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare each client the 0.1 s that it takes to load certificates: nothing here is encrypted."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server that answers as the test says."""
    async with serving() as server:
        yield server
