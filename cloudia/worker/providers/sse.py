"""Server-sent events read as plain objects.

The SDKs make a typed object of each chunk, which costs more than twice what everything else about the chunk does, and
that is the bound on how many answers a process can stream. Requests, errors and connections stay the SDKs'.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

__all__ = ["objects"]

_DONE = b"[DONE]"
"""How OpenAI ends a stream."""


async def objects(chunks: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON object of each event, of bytes that are cut anywhere. `ValueError` where an event's data is none."""
    rest = b""
    data: list[bytes] = []
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:])
            elif data and line in {b"", b"\r"}:
                text, data = b"\n".join(data).strip(), []
                if text == _DONE:
                    return
                value = json.loads(text)
                if not isinstance(value, dict):
                    raise ValueError(text[:20])
                yield value
