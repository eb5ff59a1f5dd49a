"""Giving one request what it gets, at its pace: the answer, a part of it, or a failure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.sim.llm.faults import Fault
    from cloudia.sim.llm.ledger import Record
    from cloudia.sim.llm.line import Line
    from cloudia.sim.llm.pacing import Pace
    from cloudia.sim.llm.prompts import Prompt, Reply
    from cloudia.sim.llm.wire import Api, Frames

__all__ = ["Delivery"]

_EVENTS = "text/event-stream; charset=utf-8"
_AT_ONCE = 64  # tokens in one write
_GARBAGE = b'event: message_start\ndata: {"id": "\xff\xfe<html>502 Bad Gateway</html>\n\n'


@dataclass(frozen=True, slots=True)
class Delivery:
    """What serves one request. Every method raises GoneError as soon as the client goes."""

    api: Api
    line: Line
    record: Record
    prompt: Prompt
    pace: Pace

    async def answer(self, reply: Reply) -> None:
        """Send the whole reply, as a stream if that was asked for."""
        if self.prompt.stream:
            frames = self.api.frames(self.prompt, reply)
            await self._stream(frames, reply.chunks)
            await self.line.write(frames.tail, more=False)
        else:
            await self.line.until(self.pace.due(max(0, reply.completion_tokens - 1)))
            self.record.completion_tokens = reply.completion_tokens
            await self.line.answer(200, self.api.answer(self.prompt, reply), self._headers())

    async def cut_stream(self, reply: Reply, after_tokens: int) -> None:
        """Send the first tokens of a streamed reply and close the connection."""
        await self._stream(self.api.frames(self.prompt, reply), reply.chunks[:after_tokens])
        await self.line.hang_up()

    async def cut(self, after_tokens: int) -> None:
        """Close the connection without an answer when that many tokens would have been made."""
        await self.line.until(self.pace.due(after_tokens))
        await self.line.hang_up()

    async def hang(self) -> None:
        """Never answer."""
        await self.line.until(None)

    async def garbage(self) -> None:
        """Send what looks like an answer from afar."""
        await self.line.start(200, _EVENTS if self.prompt.stream else "application/json", self._headers())
        await self.line.write(_GARBAGE, more=False)

    async def fail(self, fault: Fault) -> None:
        """Answer the status of the fault, 504 for `timeout` after its delay."""
        status, headers = fault.status, self._headers()
        if fault.kind == "timeout":
            status = 504
            await self.line.until(self.pace.start + fault.delay)
        if fault.retry_after is not None:
            headers["retry-after"] = f"{fault.retry_after:g}"
        error = self.api.error(status, f"The simulated provider was told to answer {status}.")
        await self.line.answer(status, error, headers)

    async def _stream(self, frames: Frames, chunks: Sequence[str]) -> None:
        """Send all but the end of a stream."""
        await self.line.until(self.pace.due(0))
        await self.line.start(200, _EVENTS, {"cache-control": "no-cache", **self._headers()})
        await self.line.write(frames.head, more=True)
        clock = asyncio.get_running_loop().time
        sent = 0
        while sent < len(chunks):
            await self.line.until(self.pace.due(sent))
            ready = min(self.pace.ready(clock(), len(chunks)), sent + _AT_ONCE)
            upto = max(ready, sent + 1)
            await self.line.write(b"".join(map(frames.token, chunks[sent:upto], count(sent))), more=True)
            sent = self.record.completion_tokens = upto

    def _headers(self) -> dict[str, str]:
        return {self.api.id_header: self.record.request_name}
