"""What ends a supervisor from outside: signals, and the end of the process that it was started for."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["heed_owner", "heed_signals", "leash", "owner_is_gone"]


def heed_signals(stop: Callable[[], None]) -> None:
    """Stop by SIGTERM, by Ctrl-C, and when the terminal hangs up, unless that is to be outlived, as nohup asks for."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop)


def heed_owner(stop: Callable[[], None]) -> None:
    """Stop when whoever holds the other end of stdin ends, however that is."""
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

    def ended() -> None:
        loop.remove_reader(stdin)
        stop()

    loop.add_reader(stdin, ended)


def owner_is_gone() -> bool:
    """Tell whether nobody holds the other end of stdin any more."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


@contextmanager
def leash() -> Iterator[int]:
    """Yield a stdin for a process that is to end with this one: nobody writes to it, and the system closes it in any case."""
    theirs, ours = os.pipe()
    try:
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)
