"""Ports on loopback."""

from __future__ import annotations

import socket

from cloudia.errors import UsageError

__all__ = ["LOOPBACK", "choose_port"]

LOOPBACK = "127.0.0.1"


def choose_port(wanted: int = 0) -> int:
    """Return `wanted` if it is free, or a free port where it is 0. `UsageError` where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as error:
            raise UsageError(
                f"port {wanted} is taken", hint="Stop what listens there, or choose another port; 0 takes a free one."
            ) from error
        port: int = probe.getsockname()[1]
        return port
