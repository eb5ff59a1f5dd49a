"""Ports on loopback, and the origins that a page has there."""

from __future__ import annotations

import itertools
import random
import socket

from cloudia.errors import UsageError

__all__ = ["LOOPBACK", "choose_port"]

LOOPBACK = "127.0.0.1"
# A port is chosen a second before it is bound. The system gives none of these to an outgoing connection meanwhile: Linux
# takes those from 32768 on (ip(7), ip_local_port_range), macOS from 49152 on.
_FREE = range(20_000, 32_768)
_next = itertools.count(random.randrange(len(_FREE)))  # noqa: S311 - so that two stacks seldom try the same


def choose_port(wanted: int = 0) -> int:
    """Return `wanted` if it is free, or a free port where it is 0, another each time. `UsageError` where it is taken."""
    if wanted:
        if _is_free(wanted):
            return wanted
        raise UsageError(
            f"port {wanted} is taken", hint="Stop what listens there, or choose another port; 0 takes a free one."
        )
    for number in itertools.islice(_next, len(_FREE)):
        port = _FREE[number % len(_FREE)]
        if _is_free(port):
            return port
    raise UsageError(f"no port from {_FREE.start} to {_FREE.stop - 1} is free", hint="Stop what listens there.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
