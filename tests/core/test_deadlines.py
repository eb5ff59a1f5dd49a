"""Deadlines: what takes too long is ended, and a lag of one's own is not taken for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from cloudia.deadlines import deadline, is_late


async def test_what_takes_longer_is_ended() -> None:
    """A block that waits too long is a `TimeoutError`, at its deadline; one that ends before is left alone."""
    began = asyncio.get_running_loop().time()
    async with deadline(0.4):
        await asyncio.sleep(0.3)
    with pytest.raises(TimeoutError):
        async with deadline(0.4):
            await asyncio.sleep(60)
    assert asyncio.get_running_loop().time() - began < 2


async def test_an_answer_that_came_while_the_loop_was_blocked_is_taken() -> None:
    """It is there and unread when the deadline passes: the block gets it."""
    answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with deadline(0.3):
            line = asyncio.create_task(reader.readline())
            await asyncio.sleep(0)
            began = asyncio.get_running_loop().time()
            time.sleep(0.8)  # noqa: ASYNC251 - this is the lag
            assert is_late(began + 0.3)
            answered.set_result((await line).decode())
        writer.close()
        await writer.wait_closed()
    assert answered.result() == "here\n"


async def test_who_cancels_it_is_heard() -> None:
    """A cancellation from outside is none of the deadline's."""

    async def wait() -> None:
        async with deadline(30):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
