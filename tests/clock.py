"""A clock of the test's: an event loop whose time does not pass but moves on to what comes next."""

from __future__ import annotations

import asyncio
import selectors
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_START = 1000.0
_THREAD_SECONDS = 10.0
"""Real time after which a thread that does not come back fails the test."""


class Clock(asyncio.SelectorEventLoop):
    """Where nothing can be done now, time moves to the next timer: `asyncio.sleep(20)` takes none, and order is exact.

    While a call runs in a thread (`asyncio.to_thread`) time stands still, until it comes back or takes time by `spend`.
    Where nothing would ever happen again, that is an error at once.
    """

    def __init__(self) -> None:
        self._now = _START
        self._threads = ThreadPoolExecutor(128, thread_name_prefix="clock")
        self._running = 0
        self._spending: set[threading.Event] = set()
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Return the time in seconds."""
        return self._now

    def wait(self, timeout: float | None) -> float | None:
        """Return how long to wait for a socket or a thread, in place of `timeout`; move the time where that is not at all."""
        if self._running:
            return _THREAD_SECONDS
        assert timeout is not None, "everything waits, and nothing would ever happen"
        self._now += timeout
        return 0

    def expect(self, *, threads: bool) -> None:
        """Fail where threads were waited for and none came back."""
        assert not (threads and self._running), f"a thread did not come back within {_THREAD_SECONDS:g} s"

    def spend(self, seconds: float) -> None:
        """Take time, in a thread: return once that much has passed."""
        passed = threading.Event()
        self._spending.add(passed)
        self.call_soon_threadsafe(self._begin_to_spend, seconds, passed)
        passed.wait()

    def _begin_to_spend(self, seconds: float, passed: threading.Event) -> None:
        self._running -= 1
        self.call_later(seconds, self._spent, passed)

    def _spent(self, passed: threading.Event) -> None:
        self._running += 1
        self._spending.discard(passed)
        passed.set()

    def run_in_executor(  # type: ignore[override]  # typeshed spells it with type variables that mypy does not match.
        self,
        executor: Any,  # noqa: ARG002 - all threads are the clock's own
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        """Run a call in a thread; time stands still meanwhile."""
        self._running += 1
        call = self._threads.submit(func, *args)
        waiting = asyncio.wrap_future(call, loop=self)
        call.add_done_callback(self._came_back)  # After the one that `wrap_future` added: the result is there first.
        return waiting

    def _came_back(self, _call: Future[Any]) -> None:
        if not self.is_closed():
            self.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self._running -= 1

    def close(self) -> None:
        """Let go of threads that still spend time, and close."""
        for passed in list(self._spending):
            passed.set()
        self._threads.shutdown()
        super().close()


class _Jumping(selectors.DefaultSelector):
    """A selector that asks the clock how long to wait."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; where that is nothing, let the clock move."""
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or timeout == 0:
            return ready
        real = self._clock.wait(timeout)
        ready = super().select(real)
        self._clock.expect(threads=bool(real) and not ready)
        return ready
