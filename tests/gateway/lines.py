"""What can fail on purpose: a TCP line that is watched and broken, and a Redis of a test's own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloudia.sim.ports import LOOPBACK, choose_port
from cloudia.sim.probes import redis_answers
from cloudia.sim.redis_server import find_redis, write_access
from tests.patience import HANGS
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["Line", "OwnRedis", "line", "own_redis"]

_CHUNK = 65_536
_PASSWORD = "own-redis"


class Line:
    """A TCP line on loopback to a server. Where it leads and what passes can be changed at any time."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self.target = f"{self._to.hostname}:{self._to.port}"
        """`host:port` of where new connections lead."""
        self.port = 0
        self.refusing = False
        """New connections are closed at once, as where nobody listens."""
        self.refused = 0
        """How many were."""
        self.silent = False
        """Nothing passes any more, and nobody is told: a network that swallows."""
        self.swallowed = 0
        """Bytes that were."""
        self.lost_answers = 0
        """As many of the server's answers are swallowed, and their connections broken off."""
        self.turns = 0
        """How often the client spoke, at first or after the server had: its round trips."""
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The server's URL, over this line."""
        return self._to._replace(netloc=self._to.netloc.replace(self.target, f"{LOOPBACK}:{self.port}")).geturl()

    async def cut(self) -> None:
        """Break all connections off, and wait until they are gone."""
        for writer in self._ends:
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.refused += self.refusing
        if not self.refusing:
            host, _, port = self.target.partition(":")
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
            ends = {writer, there_writer}
            self._ends |= ends
            speaker = "server"

            async def carry(who: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                nonlocal speaker
                with contextlib.suppress(OSError):
                    while data := await reader.read(_CHUNK):
                        self.turns += who == "client" != speaker
                        speaker = who
                        if who == "server" and self.lost_answers:
                            self.lost_answers -= 1
                            break
                        if self.silent:
                            self.swallowed += len(data)
                        else:
                            writer.write(data)
                            await writer.drain()
                for end in ends:
                    end.transport.abort()

            await asyncio.gather(carry("client", reader, there_writer), carry("server", there_reader, writer))
            self._ends -= ends
        writer.transport.abort()
        self._tasks.discard(task)


@asynccontextmanager
async def line(url: str) -> AsyncIterator[Line]:
    """Lay a line to the server of a URL."""
    made = Line(url)
    server = await asyncio.start_server(made.handle, LOOPBACK, 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.cut()
        await server.wait_closed()


class OwnRedis:
    """A Redis server that can be killed, paused and started again on its port. It keeps nothing."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._port = choose_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://:{_PASSWORD}@{LOOPBACK}:{self._port}/0"
        self._access = log.with_suffix(".conf")
        write_access(self._access, _PASSWORD)

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self._spawn()
        await eventually(self._answers)

    def _spawn(self) -> None:
        server = find_redis()
        assert server
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(server.command(self._port, self._access, None), stdout=out, stderr=out)

    async def _answers(self) -> bool:
        try:
            return await redis_answers(LOOPBACK, self._port, _PASSWORD)
        except (OSError, TimeoutError):
            return False

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(HANGS)
        self._process = None

    def pause(self) -> None:
        """Stop it in its tracks: its connections stay, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, whatever it is doing."""
        if self._process is not None:
            self.kill()


@asynccontextmanager
async def own_redis(folder: Path) -> AsyncIterator[OwnRedis]:
    """Run a Redis until the block ends."""
    server = OwnRedis(folder / "redis.log")
    try:
        await server.start()
        yield server
    finally:
        server.close()
