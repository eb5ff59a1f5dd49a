"""Ports on loopback: a free one, and those of a folder's stack, which are the same each time."""

from __future__ import annotations

import itertools
import random
import socket
from hashlib import sha256
from typing import TYPE_CHECKING

from cloudia.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from cloudia.sim.spec import PartKind

__all__ = ["LOOPBACK", "Ports", "choose_port"]

LOOPBACK = "127.0.0.1"
# A port is chosen a second before it is bound. The system gives none of these to an outgoing connection meanwhile: Linux
# takes those from 32768 on (ip(7), ip_local_port_range), macOS from 49152 on.
_FREE = range(20_000, 32_768)
_next = itertools.count(random.randrange(len(_FREE)))  # noqa: S311 - so that two stacks seldom try the same
_OWN: tuple[PartKind, ...] = ("api", "gateway", "engine", "redis", "llm", "collector")


class Ports:
    """The ports of a folder's stack, by its path: the same each time where they are free, so that bookmarks find it."""

    def __init__(self, folder: Path) -> None:
        place = int.from_bytes(sha256(str(folder.resolve()).encode()).digest()[:4])
        self._first = _FREE[place % (len(_FREE) - len(_OWN))]
        self._given: set[int] = set()
        self.missed: dict[PartKind, int] = {}
        """Those that others have this time, so that another was given."""

    def choose(self, kind: PartKind, wanted: int = 0) -> int:
        """Return `wanted` if it is free; where it is 0, the part's own, else any. `UsageError` as `choose_port`."""
        own = self._first + _OWN.index(kind)
        port = wanted or own
        if not wanted and (own in self._given or not _is_free(own)):
            self.missed[kind] = own
            port = 0
        chosen = choose_port(port)
        self._given.add(chosen)
        return chosen


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
