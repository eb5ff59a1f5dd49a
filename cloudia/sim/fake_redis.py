"""`python -m cloudia.sim.fake_redis PORT`: fakeredis' TCP server, the last resort where there is no Redis."""

from __future__ import annotations

import signal
import sys

from cloudia.sim.ports import LOOPBACK


def main() -> None:
    """Serve until SIGTERM."""
    from fakeredis import TcpFakeServer  # noqa: PLC0415 - an optional dependency

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    TcpFakeServer((LOOPBACK, int(sys.argv[1])), server_type="redis").serve_forever()


if __name__ == "__main__":
    main()
