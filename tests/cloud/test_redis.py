"""Redis' refusals: each is told as what it is, in one sentence, without the command that it quotes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from cloudia.cloud.events import EventLog, Frame
from cloudia.cloud.redis import connect
from cloudia.errors import RefusedError, UnavailableError
from cloudia.protocol import Event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_GREETING = {b"AUTH", b"SELECT", b"CLIENT", b"HELLO"}


@asynccontextmanager
async def refusing(answer: str, *, greeting: str = "+OK") -> AsyncIterator[str]:
    """Serve a Redis that lets everybody in and answers everything alike; yield its URL."""
    served: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                writer.write(f"{greeting if words[0] in _GREETING else answer}\r\n".encode())
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"redis://:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    await asyncio.gather(*(task for task in served if task))


@pytest.mark.parametrize(
    ("answer", "says", "advises"),
    [
        ("-NOAUTH Authentication required.", "password", "redis.url"),
        ("-NOPERM this user has no permissions to run the 'eval' command", "not allow", "ACL"),
        ("-MOVED 3999 127.0.0.1:6381", "cluster", "cluster mode off"),
        ("-CLUSTERDOWN Hash slot not served", "cluster", "cluster mode off"),
        ("-READONLY You can't write against a read only replica.", "read-only", "primary"),
        ("-ERR Error running script: @user_script: 1: -READONLY You can't write", "read-only", "primary"),
        ("-OOM command not allowed when used memory > 'maxmemory'.", "full", "maxmemory"),
        ("-ERR Error running script: @user_script: 1: -OOM command not allowed", "full", "maxmemory"),
    ],
)
async def test_a_refusal_is_told_as_what_it_is(answer: str, says: str, advises: str) -> None:
    """A password, an ACL, a cluster, a replica, a full memory: one sentence and what to do, and no word of a message."""
    async with refusing(answer) as url, connect(url) as redis:
        log = EventLog(redis, "stack", ttl_seconds=60, max_length=100)
        event = Event("delta", "job", "cnv", 1, {"text": "what was said"})
        with pytest.raises(RefusedError) as refused:
            await log.append([Frame("ses", 1, event)])
    assert says in refused.value.message
    assert advises in refused.value.hint
    assert refused.value.code == "redis_refused"
    assert "said" not in f"{refused.value.message} {refused.value.hint}"


async def test_a_wrong_password_is_told() -> None:
    """It is refused when the connection is made."""
    wrong = "-WRONGPASS invalid username-password pair or user is disabled."
    async with refusing("+OK", greeting=wrong) as url, connect(url) as redis:
        with pytest.raises(RefusedError, match="password"):
            await EventLog(redis, "stack", ttl_seconds=60, max_length=100).after("ses", "0-0")


async def test_what_may_pass_is_unavailable() -> None:
    """A Redis that loads its data is away for a moment."""
    async with refusing("-LOADING Redis is loading the dataset in memory") as url, connect(url) as redis:
        with pytest.raises(UnavailableError) as away:
            await EventLog(redis, "stack", ttl_seconds=60, max_length=100).after("ses", "0-0")
    assert not isinstance(away.value, RefusedError)
    assert away.value.code == "redis_unavailable"
