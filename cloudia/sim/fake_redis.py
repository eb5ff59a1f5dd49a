"""`python -m cloudia.sim.fake_redis PORT`: fakeredis' TCP server, the last resort where there is no Redis."""

from __future__ import annotations

import signal
import sys
from typing import Any

from cloudia.sim.ports import LOOPBACK


def main() -> None:
    """Serve until SIGTERM."""
    from fakeredis import TcpFakeServer  # noqa: PLC0415 - an optional dependency

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = TcpFakeServer((LOOPBACK, int(sys.argv[1])), server_type="redis")
    server.RequestHandlerClass = _patient(server.RequestHandlerClass)
    server.serve_forever()


def _patient(handler: Any) -> Any:
    """Return a handler that goes on after an error reply, as Redis does: fakeredis 2.40 closes the connection.

    A client's script is loaded after the reply NOSCRIPT, over the same connection.
    """

    class Patient(handler):  # type: ignore[misc]
        def setup(self) -> None:
            super().setup()
            read = self.current_client.read_response

            def read_or_error() -> Any:
                try:
                    return read()
                except Exception as error:  # noqa: BLE001 - what is returned is written as an error reply
                    return error

            self.current_client.read_response = read_or_error

    return Patient


if __name__ == "__main__":
    main()
