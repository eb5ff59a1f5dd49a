"""The client of the pytest plugin, by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from cloudia.testing.client import ChatClient, _Exchange
from tests.support import eventually


class _Connected:
    """A connection over which a message is accepted when the test says so."""

    def __init__(self, told: list[str]) -> None:
        self._told = told
        self.accepts = asyncio.Event()

    async def connected(self) -> None:
        pass

    async def send(self, content: str, **_: object) -> None:
        self._told.append(f"{content} sent")
        await self.accepts.wait()
        self._told.append(f"{content} accepted")

    async def __aexit__(self, *_: object) -> None:
        self._told.append("closed")


async def test_a_message_is_not_broken_off() -> None:
    """What is being sent while a test is left is accepted before the client closes, so that its job can be ended."""
    told: list[str] = []
    client = ChatClient.__new__(ChatClient)
    client._asking, client._sending, client._connecting = set(), set(), asyncio.Lock()
    connected: Any = _Connected(told)
    client._client = connected
    asking = asyncio.create_task(client._ask("hello", _Exchange(None), 60))
    await eventually(lambda: told)
    leaving = asyncio.create_task(client._leave())
    await asyncio.wait({asking})
    assert told == ["hello sent"]
    connected.accepts.set()
    await leaving
    assert told == ["hello sent", "hello accepted", "closed"]
