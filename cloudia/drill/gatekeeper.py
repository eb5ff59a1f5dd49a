"""A gatekeeper before the engine: it lets requests through, and refuses actions as IAM does."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Gatekeeper", "gatekeeper"]


class Gatekeeper:
    """What it refuses can be changed at any time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.refuses: set[str] = set()
        """Actions, such as `DeleteMessageBatch`."""
        self.code = "AccessDeniedException"

    @contextmanager
    def refusing(self, action: str) -> Iterator[None]:
        """Refuse an action while the block runs."""
        self.refuses.add(action)
        try:
            yield
        finally:
            self.refuses.discard(action)


@contextmanager
def gatekeeper(engine: str) -> Iterator[Gatekeeper]:
    """Stand before an engine until the block ends."""
    host = urlsplit(engine).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            action = self.headers.get("x-amz-target", "").partition(".")[2]
            if action in gate.refuses:
                refusal = {"__type": f"com.amazonaws.any#{gate.code}", "message": "not authorized"}
                self._answer(400, {}, json.dumps(refusal).encode())
                return
            line = HTTPConnection(host, timeout=60)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                line.request("POST", self.path, body, headers)
                answer = line.getresponse()
                self._answer(answer.status, dict(answer.getheaders()), answer.read())
            except OSError:
                self.close_connection = True
            finally:
                line.close()

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        gate = Gatekeeper(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield gate
        finally:
            server.shutdown()
            thread.join()
