"""Receipts: every message in flight is kept invisible until it is deleted or handed back, in batches of ten, many at once.

A renewal that is under way is awaited before a message is deleted or handed back, so that it cannot undo a back-off.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from cloudia import telemetry
from cloudia.cloud.queue import BATCH
from cloudia.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence

    from cloudia.cloud.queue import JobQueue
    from cloudia.worker.background.refusals import Refusals

__all__ = ["Receipts"]

T = TypeVar("T")

_GATHER_SECONDS = 0.01
_RETRIES = 5
_RENEWALS, _OTHERS = 12, 4
"""Requests under way at once, each in a thread of its own: 2,000 messages are renewed within 17 s where a request takes 1 s,
and who deletes one or hands it back does not wait for that."""


class Receipts:
    """The messages that a worker holds."""

    def __init__(self, queue: JobQueue, refusals: Refusals, *, visibility_seconds: int) -> None:
        self._queue = queue
        self._refusals = refusals
        self._visibility = visibility_seconds
        self._held: dict[str, None] = {}
        self._due: set[str] = set()
        """Those of a renewal that waits for its turn, or is under way."""
        self._renewing: dict[str, asyncio.Future[None]] = {}
        """Those of a renewal that is under way, each with its end."""
        self._deletions: list[tuple[str, asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewals, self._others = asyncio.Semaphore(_RENEWALS), asyncio.Semaphore(_OTHERS)
        self._threads = ThreadPoolExecutor(_RENEWALS + _OTHERS, thread_name_prefix="receipts")

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, receipts: Iterable[str]) -> None:
        """Keep these messages invisible from now on."""
        self._held.update(dict.fromkeys(receipts))

    async def run(self) -> None:
        """Renew the visibility of all that is held, at a third of its time, until cancelled."""
        while True:
            await asyncio.sleep(self._visibility / 3)
            due = [receipt for receipt in self._held if receipt not in self._due]
            self._due.update(due)
            for batch in _batches(due):
                self._start(self._renew(batch))

    async def delete(self, receipt: str) -> None:
        """Delete a message; returns when it is gone, or was given up. Deletions of the same moment share a request."""
        await self._let_go([receipt])
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._deletions:
            self._start(self._delete_soon())
        self._deletions.append((receipt, done))
        await done

    async def hand_back(self, receipts: Sequence[str], seconds: int) -> None:
        """Let messages be received again after `seconds`."""
        await self._let_go(receipts)
        await asyncio.gather(*(self._change(batch, seconds, "handed back") for batch in _batches(receipts)))

    def forget(self, receipt: str) -> None:
        """Leave a message to whoever receives it next."""
        self._held.pop(receipt, None)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renew(self, batch: Sequence[str]) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with self._renewals:
            held = [receipt for receipt in batch if receipt in self._held]
            self._renewing.update(dict.fromkeys(held, over))
            try:
                await self._request(held, lambda: self._queue.change_visibility(held, self._visibility), "renewed")
            finally:
                over.set_result(None)
                self._due.difference_update(batch)
                for receipt in held:
                    del self._renewing[receipt]

    async def _let_go(self, receipts: Sequence[str]) -> None:
        for receipt in receipts:
            self._held.pop(receipt, None)
        under_way = {self._renewing[receipt] for receipt in receipts if receipt in self._renewing}
        if under_way:
            await asyncio.wait(under_way)

    async def _delete_soon(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        deletions, self._deletions = self._deletions, []
        await asyncio.gather(*(self._delete(batch) for batch in _batches(deletions)))

    async def _delete(self, batch: Sequence[tuple[str, asyncio.Future[None]]]) -> None:
        receipts = [receipt for receipt, _ in batch]
        try:
            async with self._others:
                await self._request(receipts, lambda: self._queue.delete(receipts), "deleted")
        finally:
            for _, done in batch:
                if not done.done():
                    done.set_result(None)

    async def _change(self, batch: Sequence[str], seconds: int, what: str) -> None:
        async with self._others:
            await self._request(batch, lambda: self._queue.change_visibility(batch, seconds), what)

    async def _request(self, batch: Sequence[str], work: Callable[[], list[str]], what: str) -> None:
        """Make a request for ten receipts at most. What is refused or given up is out of our hands: it is received again."""
        doing = f"messages {what}"
        for attempt in range(_RETRIES if batch else 0):
            try:
                async with asyncio.timeout(self._visibility):
                    refused = await asyncio.get_running_loop().run_in_executor(self._threads, work)
            except TimeoutError:
                telemetry.log(f"messages not {what}", level=logging.WARNING, count=len(batch), code="timed_out")
                return
            except UnavailableError as error:
                self._refusals.failed(doing, error)
                if attempt == _RETRIES - 1 or isinstance(error, RefusedError):
                    telemetry.log(f"messages not {what}", level=logging.WARNING, count=len(batch), code=error.code)
                    return
                await asyncio.sleep(0.1 * 2**attempt)
            except Exception as error:  # noqa: BLE001 - refused for good; nobody may wait for it for ever
                self._refusals.failed(doing, error)
                telemetry.log(f"messages not {what}", level=logging.ERROR, count=len(batch), exc_info=error)
                return
            else:
                self._refusals.worked(doing)
                if refused:
                    telemetry.log(f"messages not {what}", level=logging.WARNING, count=len(refused), code="expired")
                return


def _batches(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the entries by ten, which is what a request takes."""
    for start in range(0, len(entries), BATCH):
        yield entries[start : start + BATCH]
