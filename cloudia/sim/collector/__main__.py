"""`python -m cloudia.sim.collector`: run the collector until SIGTERM, exit 0.

`CLOUDIA_COLLECTOR_TOKEN` is what a request must bear. OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, …) name
whoever gets all of it as well.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

import uvicorn

from cloudia import telemetry
from cloudia.sim.collector.app import Collector
from cloudia.sim.collector.store import Store
from cloudia.sim.collector.targets import targets
from cloudia.sim.edge.server import BoundedProtocol
from cloudia.sim.ports import LOOPBACK

_KEEP_ALIVE_SECONDS = 75
"""Longer than exporters pause between two batches, so that none meets a connection that is just closed."""


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m cloudia.sim.collector")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True, help="file of the spans")
    parser.add_argument("--bytes", type=int, required=True, help="most that it has")
    parser.add_argument("--seconds", type=float, required=True, help="how long a span is kept")
    options = parser.parse_args()
    token = os.environ["CLOUDIA_COLLECTOR_TOKEN"]
    telemetry.configure_logs("collector", secrets=[token])
    store = Store(options.store, size=options.bytes, seconds=options.seconds, say=_warn)
    forwarder = None
    if found := targets(os.environ):
        from cloudia.sim.collector.forwarding import Forwarder  # noqa: PLC0415 - a client of HTTP, where it is wanted

        forwarder = Forwarder(found, _warn)
    uvicorn.run(
        Collector(store, forwarder, token=token, say=_warn).app(LOOPBACK),
        host=LOOPBACK,
        port=options.port,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
        server_header=False,
    )


def _warn(said: str) -> None:
    telemetry.log(said, level=logging.WARNING)


if __name__ == "__main__":
    main()
