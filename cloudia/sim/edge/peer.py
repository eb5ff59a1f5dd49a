"""Whose process is at the other end of a connection over loopback: Linux tells it in `/proc/net/tcp`.

https://docs.kernel.org/networking/proc_net_tcp.html
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TypeAlias

__all__ = ["Address", "is_own_process"]

Address: TypeAlias = tuple[str, int]
"""An IPv4 address and a port."""

_TABLE = Path("/proc/net/tcp")
_ESTABLISHED = "01"


def is_own_process(theirs: Address, ours: Address) -> bool:
    """Tell whether the end `theirs` belongs to a process of this one's user. False where the system does not tell."""
    wanted = [_as_listed(theirs), _as_listed(ours), _ESTABLISHED]
    try:
        lines = _TABLE.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(fields[1:4] == wanted and fields[7] == str(os.geteuid()) for fields in map(str.split, lines))


def _as_listed(address: Address) -> str:
    """Return an address as the table has it: the four bytes as a number of this machine's, then the port."""
    host, port = address
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
