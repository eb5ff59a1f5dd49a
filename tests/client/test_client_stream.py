"""The event stream: one session over any number of connections."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from cloudia.client import EventStream
from cloudia.errors import CloudiaError, ConflictError, InvalidRequestError, UnauthorizedError, UsageError
from cloudia.sim.ports import LOOPBACK
from tests.gateway.lines import line
from tests.gateway.nodes import append, log_of, running
from tests.support import Cloud, RunningStack, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloudia.cloud.events import EventLog
    from cloudia.protocol import Event


class Listener:
    """A stream that is read to the end of the test."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream
        self.readies: list[Event] = []
        self.events: list[Event] = []
        self.failure: CloudiaError | None = None

    async def listen(self) -> None:
        """Collect what comes."""
        try:
            async for event in self.stream.events():
                (self.readies if event.type == "ready" else self.events).append(event)
        except CloudiaError as error:
            self.failure = error

    async def session(self) -> str:
        """Wait for `ready`."""
        await eventually(lambda: self.readies)
        assert self.stream.session_id is not None
        return self.stream.session_id

    @property
    def ids(self) -> list[str | None]:
        """The ids of what came."""
        return [event.id for event in self.events]

    @property
    def text(self) -> str:
        """The text of what came."""
        return "".join((event.data or {})["text"] for event in self.events)


@asynccontextmanager
async def listening(
    url: str, token: str, *, session_id: str | None = None, last_event_id: str | None = None
) -> AsyncIterator[Listener]:
    listener = Listener(EventStream(url, token, session_id=session_id, last_event_id=last_event_id))
    task = asyncio.create_task(listener.listen())
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        assert listener.stream.state == "closed"


async def test_a_stream_yields_ready_and_then_the_events(stack: RunningStack, log: EventLog) -> None:
    """In the order of the log, with their ids; the state says that it is connected, and in the end that it is closed."""
    async with listening(stack.run["websocket_url"], stack.token()) as listener:
        session = await listener.session()
        assert (listener.stream.state, listener.stream.retry_at) == ("connected", None)
        ids = await append(log, session, ["Grüße, ", "🦊", "!"])
        await eventually(lambda: listener.ids == ids)
        assert listener.text == "Grüße, 🦊!"
        assert listener.stream.last_event_id == ids[-1]


async def test_i4_a_stream_that_is_cut_again_and_again_is_whole(stack: RunningStack, log: EventLog) -> None:
    """Cuts without a handshake, while events come: each event once, in order, and the text is whole."""
    chance = random.Random(4)
    ids: list[str] = []
    async with listening(stack.run["websocket_url"], stack.token()) as listener:
        session = await listener.session()
        for number in range(300):
            ids += await append(log, session, [f"{number} "])
            if number % 40 == 20:
                await listener.stream.cut()
            await asyncio.sleep(chance.random() * 0.004)
        await eventually(lambda: len(listener.ids) >= len(ids))
        assert listener.ids == ids
        assert listener.text == "".join(f"{number} " for number in range(300))
        assert len(listener.readies) >= 3
        assert all((ready.data or {})["resumed"] for ready in listener.readies[1:])
        assert {(ready.data or {})["session_id"] for ready in listener.readies} == {session}


async def test_i4_a_new_stream_goes_on_where_another_ended(stack: RunningStack, log: EventLog) -> None:
    """Session and last event, kept somewhere, make a new process go on as if it had been one."""
    url, token = stack.run["websocket_url"], stack.token()
    async with listening(url, token) as first:
        ids = await append(log, await first.session(), ["a", "b"])
        await eventually(lambda: first.ids == ids)
    session, last = first.stream.session_id, first.stream.last_event_id
    assert session is not None
    ids = await append(log, session, ["c", "d"])
    async with listening(url, token, session_id=session, last_event_id=last) as second:
        await eventually(lambda: second.ids == ids)
        assert await second.session() == session
        assert (second.readies[0].data or {})["resumed"] is True


async def test_i4_a_stream_moves_on_when_its_gateway_stops(cloud: Cloud, tmp_path: Path) -> None:
    """A gateway that is replaced by another, as in a deployment, costs a reconnection and not one event."""
    async with (
        log_of(cloud.settings) as log,
        running(cloud, tmp_path / "new.log") as new,
        running(cloud, tmp_path / "old.log") as old,
        line(old.url) as way,
        listening(f"ws://{LOOPBACK}:{way.port}", cloud.token()) as listener,
    ):
        session = await listener.session()
        ids = await append(log, session, ["a", "b"])
        await eventually(lambda: listener.ids == ids)
        way.target = f"{LOOPBACK}:{new.port}"
        old.terminate()
        ids += await append(log, session, ["c", "d"])
        await eventually(lambda: len(listener.readies) == 2)
        await eventually(lambda: listener.ids == ids)


async def test_a_stream_keeps_trying_while_nobody_listens(stack: RunningStack) -> None:
    """It says that it is reconnecting and when it tries next, and is there when the gateway is."""
    async with line(stack.run["websocket_url"]) as way:
        way.refusing = True
        async with listening(f"ws://{LOOPBACK}:{way.port}", stack.token()) as listener:
            await eventually(lambda: listener.stream.state == "reconnecting")
            assert listener.stream.retry_at is not None
            assert listener.stream.retry_at <= asyncio.get_running_loop().time() + 5
            way.refusing = False
            await listener.session()
            await eventually(lambda: listener.stream.state == "connected")
            assert listener.stream.retry_at is None
            way.refusing = True
            await way.cut()
            await eventually(lambda: listener.stream.state == "reconnecting")
            way.refusing = False
            await eventually(lambda: len(listener.readies) == 2)


@pytest.mark.parametrize(
    ("case", "code"), [("garbage", "bad_token"), ("expired", "token_expired"), ("elsewhere", "bad_token")]
)
async def test_i5_a_token_that_is_refused_ends_the_stream(
    stack: RunningStack, cloud: Cloud, case: str, code: str
) -> None:
    """`UnauthorizedError` with the gateway's code and hint, and no second try."""
    token = {"garbage": "garbage", "expired": stack.token(seconds=-60), "elsewhere": cloud.token()}[case]
    async with listening(stack.run["websocket_url"], token) as listener:
        failure = await eventually(lambda: listener.failure)
    assert isinstance(failure, UnauthorizedError)
    assert failure.code == code
    assert "cloudia token" in failure.hint
    assert not listener.readies


async def test_i5_a_session_of_another_user_ends_the_stream(stack: RunningStack) -> None:
    """`InvalidRequestError` with the code `no_session`."""
    async with listening(stack.run["websocket_url"], stack.token("alice")) as alice:
        session = await alice.session()
        async with listening(stack.run["websocket_url"], stack.token("bob"), session_id=session) as bob:
            failure = await eventually(lambda: bob.failure)
        assert isinstance(failure, InvalidRequestError)
        assert failure.code == "no_session"
        assert alice.failure is None


async def test_a_stream_whose_session_is_taken_over_ends(stack: RunningStack, log: EventLog) -> None:
    """`ConflictError` for the older one, which does not fight back; the newer one goes on."""
    url, token = stack.run["websocket_url"], stack.token()
    async with listening(url, token) as older:
        session = await older.session()
        async with listening(url, token, session_id=session) as newer:
            await newer.session()
            failure = await eventually(lambda: older.failure)
            assert isinstance(failure, ConflictError)
            assert "newer connection" in failure.message
            ids = await append(log, session, ["a"])
            await eventually(lambda: newer.ids == ids)
            assert len(newer.readies) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1", "", "ws://"])
async def test_a_url_that_is_none_is_a_wrong_use(url: str) -> None:
    """`UsageError`, and no endless trying."""
    async with listening(url, "token") as listener:
        failure = await eventually(lambda: listener.failure)
    assert isinstance(failure, UsageError)
    assert failure.hint


async def test_a_stream_that_is_left_closes_its_connection(cloud: Cloud, tmp_path: Path) -> None:
    """Whoever stops listening is gone from the gateway at once, with a proper goodbye."""
    async with running(cloud, tmp_path / "gateway.log") as node:
        async with listening(node.url, cloud.token()) as listener:
            await listener.session()
        (gone,) = await eventually(lambda: node.events("disconnected"))
        assert gone["code"] == 1000
        await listener.stream.cut()
