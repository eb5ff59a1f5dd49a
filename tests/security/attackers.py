"""What an attacker has: a page of another origin in a real browser, bytes on a socket, another user's process."""

from __future__ import annotations

import shutil
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext

__all__ = ["EVIL", "chromium", "head_of", "port_of", "raw", "website"]

EVIL = "evil.example"
"""A name that the attacker has made to point to this machine."""
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
)


@contextmanager
def chromium() -> Iterator[BrowserContext]:
    """Run the developer's browser, for which the attacker's name is this machine."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_FLAGS))
        context = browser.new_context()
        context.set_default_timeout(HANGS * 1000)
        yield context
        browser.close()


@contextmanager
def website() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """Serve an empty page on a port of the attacker's. Yield the port, and the headers of each request, in lower case."""
    seen: list[dict[str, str]] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>harmless</title>")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        server.server_close()


def port_of(url: str) -> int:
    """Return the port of a URL."""
    port = urlsplit(url).port
    assert port
    return port


def raw(port: int, sent: bytes, *, seconds: float = 10) -> bytes:
    """Send bytes to a port of this machine. Return what comes back until the other end closes, or is silent for `seconds`."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(sent)
        got = b""
        try:
            while piece := connection.recv(65_536):
                got += piece
        except (TimeoutError, ConnectionResetError):
            pass
        return got


def head_of(port: int, path: str, *headers: str, method: str = "GET") -> int:
    """Ask with exactly these header lines, and return the status."""
    lines = [f"{method} {path} HTTP/1.1", *headers, "", ""]
    with (
        socket.create_connection(("127.0.0.1", port), timeout=HANGS) as connection,
        connection.makefile("rb") as answer,
    ):
        connection.sendall("\r\n".join(lines).encode())
        return int(answer.readline().split(b" ", 2)[1])
