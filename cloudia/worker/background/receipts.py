"""Receipts: every message in flight is kept invisible until it is deleted or handed back, in batches of ten.

A renewal that is under way is awaited before a message is deleted or handed back, so that it cannot undo a back-off.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.cloud.queue import BATCH
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cloudia.cloud.queue import JobQueue

__all__ = ["Receipts"]

_GATHER_SECONDS = 0.01
_RETRIES = 5


class Receipts:
    """The messages that a worker holds."""

    def __init__(self, queue: JobQueue, *, visibility_seconds: int) -> None:
        self._queue = queue
        self._visibility = visibility_seconds
        self._held: dict[str, None] = {}
        self._renewing = asyncio.Lock()
        self._deletions: list[tuple[str, asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, receipts: Iterable[str]) -> None:
        """Keep these messages invisible from now on."""
        self._held.update(dict.fromkeys(receipts))

    async def run(self) -> None:
        """Renew the visibility of all that is held, at a third of its time, until cancelled."""
        while True:
            await asyncio.sleep(self._visibility / 3)
            async with self._renewing:
                await self._in_batches(
                    list(self._held), lambda batch: self._queue.change_visibility(batch, self._visibility), "renewed"
                )

    async def delete(self, receipt: str) -> None:
        """Delete a message; returns when it is gone, or was given up. Deletions of the same moment share a request."""
        await self._let_go([receipt])
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deletions.append((receipt, done))
        if self._flush is None:
            self._flush = asyncio.create_task(self._delete_soon())
        await done

    async def hand_back(self, receipts: Sequence[str], seconds: int) -> None:
        """Let messages be received again after `seconds`."""
        await self._let_go(receipts)
        await self._in_batches(
            list(receipts), lambda batch: self._queue.change_visibility(batch, seconds), "handed back"
        )

    def forget(self, receipt: str) -> None:
        """Leave a message to whoever receives it next."""
        self._held.pop(receipt, None)

    async def _let_go(self, receipts: Iterable[str]) -> None:
        for receipt in receipts:
            self._held.pop(receipt, None)
        async with self._renewing:
            pass

    async def _delete_soon(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        deletions, self._deletions, self._flush = self._deletions, [], None
        await self._in_batches([receipt for receipt, _ in deletions], self._queue.delete, "deleted")
        for _, done in deletions:
            if not done.done():
                done.set_result(None)

    async def _in_batches(self, receipts: list[str], work: Callable[[list[str]], list[str]], what: str) -> None:
        """Run `work` on ten receipts at a time. What is refused or given up is out of our hands: it is received again."""
        for start in range(0, len(receipts), BATCH):
            batch = receipts[start : start + BATCH]
            for attempt in range(_RETRIES):
                try:
                    refused = await asyncio.to_thread(work, batch)
                except UnavailableError as error:
                    if attempt == _RETRIES - 1:
                        telemetry.log(f"messages not {what}", level=logging.WARNING, count=len(batch), code=error.code)
                        break
                    await asyncio.sleep(0.1 * 2**attempt)
                except Exception as error:  # noqa: BLE001 - refused for good; nobody may wait for it for ever
                    telemetry.log(f"messages not {what}", level=logging.ERROR, count=len(batch), exc_info=error)
                    break
                else:
                    if refused:
                        telemetry.log(f"messages not {what}", level=logging.WARNING, count=len(refused), code="expired")
                    break
