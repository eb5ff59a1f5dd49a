"""HTTP servers of a test's own, on loopback, each in a thread that ends with its block."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Quiet", "serving"]


class Quiet:
    """Before the class of a handler: it tells nobody what it was asked."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
        pass


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler], port: int = 0) -> Iterator[str]:
    """Serve until the block ends, on a free port where it is 0. Yield the URL, without a slash at its end."""
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
