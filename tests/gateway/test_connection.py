"""One connection whose sender fails in a way that nobody foresaw."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from cloudia.cloud.events import START, Entry, EventLog
from cloudia.cloud.sessions import Registration
from cloudia.frames import CLOSE_TRY_AGAIN
from cloudia.gateway.connection import Connection
from cloudia.protocol import Event

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection


class Broken(EventLog):
    """An event log whose entries cannot be read."""

    def __init__(self) -> None:
        pass

    async def after(self, session_id: str, event_id: str, *, count: int = 500) -> list[Entry]:
        raise KeyError(session_id, event_id, count)


async def test_a_sender_that_fails_closes_its_connection_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    """The client is told in a frame and in the closing one that it may resume; the log says where it failed, once."""

    async def handle(socket: ServerConnection) -> None:
        await Connection(
            socket,
            held=Registration("ses", "con", "alice"),
            after=START,
            expires_at=time.time() + 60,
            log=Broken(),
            most_bytes=1000,
            stall_seconds=5,
            heartbeat_seconds=60,
        ).run()

    async with serve(handle, "127.0.0.1", 0) as server:
        host, port = next(iter(server.sockets)).getsockname()
        async with connect(f"ws://{host}:{port}", proxy=None) as client:
            event = Event.decode(await client.recv())
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
    assert (event.type, event.data) == (
        "error",
        {"error": {"code": "internal", "message": "the gateway failed", "hint": "Reconnect to resume."}},
    )
    assert closed.value.rcvd
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (CLOSE_TRY_AGAIN, "the gateway failed")
    assert [entry.message for entry in caplog.records if entry.name.startswith("cloudia")] == ["sending failed"]
