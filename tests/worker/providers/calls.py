"""What the adapters' tests share: calls, and failures that are the same for every provider."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

import httpx2

from cloudia.worker.providers.base import (
    Alive,
    ChatMessage,
    ChatRequest,
    FailureKind,
    Finish,
    FinishReason,
    Piece,
    Provider,
    ProviderError,
    Thinking,
    Tool,
    ToolCall,
    Usage,
)
from cloudia.worker.providers.reach import Reach
from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.worker.providers.server import End, Server

HELLO_PIECES: list[Piece] = ["Hel", "lo, wörld", Usage(9, 4)]
"""What comes of each API's `HELLO`."""
STREAM_PIECES: list[Piece] = ["Hel", "lo, wörld", ToolCall("call_a", "weather", '{"a": "ü"}'), Usage(9, 4)]
"""What comes of each API's `STREAM`."""
HEADERS = {"x-cloudia-job-id": "job_1", "x-cloudia-attempt": "2"}


async def _weather(city: str) -> str:
    return f"sunny in {city}"


WEATHER = Tool(
    "weather", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}}, _weather
)


def reach(url: str, name: str, *, key: str = "key-1", read: float = 10) -> Reach:
    """Return how a test's server is reached."""
    timeout = httpx2.Timeout(10, read=read)
    return Reach(name=name, url=url, api_key=key, key_setting=f"{name}.api_key", timeout=timeout)


def request(*messages: ChatMessage, system: str = "", tools: tuple[Tool, ...] = ()) -> ChatRequest:
    """Return a request; its one message is a question where none is given."""
    return ChatRequest("model-1", system, messages or (ChatMessage("user", "well?"),), 77, tools, HEADERS)


async def ask(provider: Provider, asked: ChatRequest | None = None) -> list[Piece]:
    """Return what an answer says, calls and counts: all of it but signs of life and the finish. Nothing waits for ever."""
    return [piece for piece in await every(provider, asked) if not isinstance(piece, Alive | Thinking | Finish)]


async def every(provider: Provider, asked: ChatRequest | None = None) -> list[Piece]:
    """Return all pieces of an answer."""
    async with asyncio.timeout(HANGS):
        return [piece async for piece in provider.stream(asked or request())]


async def finish(provider: Provider, asked: ChatRequest | None = None) -> FinishReason:
    """Return why an answer ended; that is told once, after all text."""
    told = [piece for piece in await every(provider, asked) if not isinstance(piece, Alive | Usage)]
    assert isinstance(told[-1], Finish)
    assert not any(isinstance(piece, Finish) for piece in told[:-1])
    return told[-1].reason


async def attempt(provider: Provider, asked: ChatRequest | None = None) -> tuple[list[Piece], ProviderError | None]:
    """Return what came of an answer, as `ask` does, and the failure that ended it, if one did."""
    pieces: list[Piece] = []
    try:
        async with asyncio.timeout(HANGS):
            async for piece in provider.stream(asked or request()):
                if not isinstance(piece, Alive | Thinking | Finish):
                    pieces.append(piece)  # noqa: PERF401 - it is wanted also where the stream fails
    except ProviderError as error:
        return pieces, error
    return pieces, None


async def first_text(pieces: AsyncIterator[Piece]) -> str | None:
    """Return the first text that comes, and read no further."""
    return await anext((piece async for piece in pieces if isinstance(piece, str)), None)


async def failure(provider: Provider, asked: ChatRequest | None = None) -> tuple[list[Piece], ProviderError]:
    """Return what came of an answer that must fail, and its failure."""
    pieces, error = await attempt(provider, asked)
    assert error, f"it did not fail: {pieces}"
    return pieces, error


STATUSES: Sequence[tuple[int, FailureKind]] = (
    (400, "rejected"),
    (401, "rejected"),
    (403, "rejected"),
    (404, "rejected"),
    (408, "unavailable"),
    (409, "unavailable"),
    (413, "rejected"),
    (422, "rejected"),
    (429, "rate_limited"),
    (500, "unavailable"),
    (502, "unavailable"),
    (503, "unavailable"),
    (529, "unavailable"),
)

RETRY_AFTER: Sequence[tuple[str, float | None]] = (
    ("7", 7),
    ("0.5", 0.5),
    ("-3", 0),
    ("86400", 600),
    ("inf", 600),
    ("nan", None),
    ("soon", None),
    ("", None),
    (formatdate(0, usegmt=True), 0),
    (formatdate(4e9, usegmt=True), 600),
)


@dataclass(frozen=True)
class Broken:
    """An answer that is none."""

    parts: Sequence[bytes]
    end: End = "close"


_OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"

BROKEN = {
    "closed at once": Broken(()),
    "reset at once": Broken((), "reset"),
    "no HTTP": Broken((b"220 mail.example ESMTP\r\n\r\n",)),
    "half of the head": Broken((b"HTTP/1.1 200 OK\r\ncontent-ty",)),
    "only the head": Broken((_OK + b"transfer-encoding: chunked\r\n\r\n",)),
    "reset after the head": Broken((_OK + b"transfer-encoding: chunked\r\n\r\n",), "reset"),
    "empty": Broken((_OK + b"content-length: 0\r\n\r\n",), "wait"),
    "less than it said": Broken((_OK + b"content-length: 99\r\n\r\n", b": awake\n\n")),
    "not compressed": Broken((_OK + b"content-encoding: gzip\r\ncontent-length: 9\r\n\r\n", b": awake\n\n"), "wait"),
    "a page": Broken((b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",), "wait"),
    "no JSON": Broken((_OK + b"\r\n", b"data: <html>\n\n")),
    "no object": Broken((_OK + b"\r\n", b"data: [1]\n\n")),
    "another object": Broken((_OK + b"\r\n", b'data: {"choices": 5, "type": "content_block_delta"}\n\n')),
}
"""Each is a failure of the kind `unavailable`, for a second try may help."""


async def check_broken(provider: Provider, server: Server, name: str) -> None:
    """Check that an answer that is none is a failure of its own kind, and quotes nothing."""
    server.answer, server.end = BROKEN[name].parts, BROKEN[name].end
    pieces, error = await failure(provider)
    assert pieces == []
    assert (error.kind, error.status, error.retry_after) == ("unavailable", None, None)
    assert not {"html", "well?"} & set(str(error).split())
    assert len(server.requests) == 1, "it was tried again, which is the worker's to decide"
