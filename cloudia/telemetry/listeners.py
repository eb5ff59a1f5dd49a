"""Who is told what happens: the log at once, and each listener on a thread of its own.

A listener is a function of one event (`cloudia.telemetry.events`). It cannot harm a job: what it raises is logged once and
counted, and where it is slower than the events come, those that find no room are dropped and counted. One that has a `close` is
closed behind the last event.
"""

from __future__ import annotations

import inspect
import logging
import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from cloudia.errors import UsageError
from cloudia.named_function import load_function
from cloudia.telemetry.log_listener import write_line
from cloudia.telemetry.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.telemetry.events import Happening

__all__ = ["Listener", "dropped", "flush", "listen", "listening", "load_listener", "notify", "stop_listening"]

Listener: TypeAlias = "Callable[[Happening], object]"

MOST_WAITING = 10_000
"""Events that wait for a listener: a few megabytes."""
_GATHER_SECONDS = 0.02
"""Pause in which events gather: a thread that is woken for each of them takes more of the interpreter than it works."""
_EXAMPLE = "Such as `def told(event): ...` in my_listener.py, named my_listener:told."


class _Thread:
    """Tells one listener, on a thread of its own, what was put."""

    def __init__(self, listener: Listener, *, most: int) -> None:
        self._listener = listener
        self._most = most
        self._waiting: queue.SimpleQueue[Happening | threading.Event | None] = queue.SimpleQueue()
        """An event of the threads' among them is set when all before it was told; None is the end."""
        self._hurry = threading.Event()
        self.dropped = 0
        self._failed = 0
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    def put(self, event: Happening) -> None:
        """Leave an event for the listener; drop it where too many wait."""
        if self._waiting.qsize() < self._most:
            self._waiting.put(event)
            return
        self.dropped += 1
        if self.dropped == 1:
            log("the listener is too slow; events are dropped", level=logging.WARNING, waiting=self._most)

    def flush(self, seconds: float) -> bool:
        """Wait until the listener has been told all that was put, at most `seconds`. Return whether it has."""
        told = threading.Event()
        self._waiting.put(told)
        self._hurry.set()
        return told.wait(seconds)

    def close(self, seconds: float) -> None:
        """Tell what waits, at most for `seconds`; leave the rest. The thread ends with the process at the latest."""
        deadline = time.monotonic() + seconds
        untold = 0 if self.flush(seconds) else self._leave()
        self._waiting.put(None)
        self._hurry.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self.dropped or self._failed or untold:
            log(
                "the listener missed events",
                level=logging.WARNING,
                dropped=self.dropped,
                failed=self._failed,
                untold=untold,
            )

    def _leave(self) -> int:
        """Take out what waits, and return how many events it is."""
        left = 0
        with suppress(queue.Empty):
            while True:
                left += not isinstance(self._waiting.get_nowait(), threading.Event)
        return left

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            if isinstance(event, threading.Event):
                event.set()
                continue
            self._tell(event)
            if self._waiting.empty():
                self._hurry.wait(_GATHER_SECONDS)
                self._hurry.clear()
        close = getattr(self._listener, "close", None)
        if close:
            close()

    def _tell(self, event: Happening) -> None:
        try:
            self._listener(event)
        except BaseException as error:  # noqa: BLE001 - SystemExit too would end the thread
            self._failed += 1
            if self._failed == 1:
                log("the listener failed", level=logging.ERROR, event_type=type(event).__name__, exc_info=error)


_threads: tuple[_Thread, ...] = ()


def load_listener(name: str) -> Listener:
    """Return the listener that `module:function` names. `UsageError` where there is none."""
    listener: Any = load_function("telemetry.listener", name, what="listener", example=_EXAMPLE, code="bad_listener")
    if not callable(listener) or inspect.iscoroutinefunction(listener):
        raise UsageError(f"the listener {name} is not a plain function", hint=_EXAMPLE, code="bad_listener")
    told: Listener = listener
    return told


def listen(*listeners: Listener, most: int = MOST_WAITING) -> None:
    """Tell these listeners from now on, in place of those before; at most `most` events wait for each."""
    global _threads  # noqa: PLW0603 - of a process, as its log is
    stop_listening(0)
    _threads = tuple(_Thread(listener, most=most) for listener in listeners)


def listening() -> bool:
    """Tell whether anybody but the log listens: whatever no line is made of need not be built otherwise."""
    return bool(_threads)


def dropped() -> int:
    """Return how many events found no room at a listener so far."""
    return sum(thread.dropped for thread in _threads)


def notify(event: Happening, *, exc_info: BaseException | None = None) -> None:
    """Tell what happened. Never blocks, never raises. A traceback goes to the log alone, for it may quote anything."""
    write_line(event, exc_info)
    for thread in _threads:
        thread.put(event)


def flush(seconds: float) -> None:
    """Wait until the listeners have been told all that happened, at most `seconds`.

    Lambda freezes a process between two calls, with whatever its threads were doing: a function flushes before it returns.
    """
    deadline = time.monotonic() + seconds
    for thread in _threads:
        thread.flush(max(0.0, deadline - time.monotonic()))


def stop_listening(seconds: float) -> None:
    """Tell the listeners what waits for them, at most for `seconds`, and no more. Logs how many events each missed."""
    global _threads
    threads, _threads = _threads, ()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.close(max(0.0, deadline - time.monotonic()))
