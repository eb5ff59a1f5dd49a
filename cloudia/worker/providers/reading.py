"""Reading an answer's stream: from the bytes of a response to the pieces that its events are, whichever API they are of."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import httpx2

from cloudia.worker.providers.base import Alive
from cloudia.worker.providers.sse import EventReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from cloudia.worker.providers.base import Piece
    from cloudia.worker.providers.transport import Failures

__all__ = ["Events", "read"]

_DRAIN_SECONDS = 0.25


class Events(Protocol):
    """What the events of one answer have said so far."""

    @property
    def stopped(self) -> bool:
        """Whether an event has said that none follows."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the answer is whole."""
        ...

    def take(self, event: dict[str, Any]) -> Iterator[Piece]:
        """Take an event. Yield what it brings, a sign of life at least."""
        ...

    def end(self, *, done: bool) -> Iterator[Piece]:
        """Take the stream's end, by `[DONE]` or by itself. Yield what comes last: of one that broke off, the usage alone."""
        ...


async def read(response: httpx2.Response, events: Events, failures: Failures, *, model: str) -> AsyncGenerator[Piece]:
    """Yield the pieces of an answer. Raises `ProviderError`, and `ValueError` or the like where it makes no sense."""
    if "htm" in response.headers.get("content-type", ""):
        raise failures.no_stream("a page of HTML")
    reader = EventReader()
    chunks = response.aiter_bytes()
    async for chunk in chunks:
        objects = reader.feed(chunk)
        if not objects:
            yield Alive()
        for piece in _pieces(objects, events, failures, model):
            yield piece
        if reader.done or events.stopped:
            break
    for piece in _pieces(reader.end(), events, failures, model):
        yield piece
    for piece in events.end(done=reader.done):
        yield piece
    if not events.finished:
        if reader.is_document:
            raise failures.no_stream("JSON")
        raise failures.cut() if reader.begun else failures.nothing(response)
    await _drain(chunks)


def _pieces(objects: list[dict[str, Any]], events: Events, failures: Failures, model: str) -> Iterator[Piece]:
    """Yield what events bring. Raises the error that one of them may be."""
    for event in objects:
        if error := _error(event):
            raise failures.in_stream(error, model=model)
        yield from events.take(event)


def _error(event: dict[str, Any]) -> Any:
    """Return the error that an event is; None where it is none.

    Anthropic's type marks it, vLLM's object; others send theirs without any mark.
    """
    failed = event.get("response")  # Of OpenAI's Responses, which tell a failure so.
    if error := event.get("error") or (failed.get("error") if isinstance(failed, dict) else None):
        return error
    marked = "error" in (event.get("type"), event.get("object"))
    bare = "choices" not in event and isinstance(event.get("message", event.get("detail")), str)
    return event if marked or bare else None


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read what is left of an answer that is whole, so that its connection serves the next one; briefly."""
    with suppress(TimeoutError, httpx2.HTTPError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in chunks:
                pass
