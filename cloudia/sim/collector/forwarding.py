"""What came, sent on to the user's own backend: from a bounded queue, tried again for a moment, else dropped and counted."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudia.sim.collector.targets import Target

__all__ = ["Forwarder"]

_MOST_WAITING = 256
_MOST_BYTES = 16 * 2**20
"""Of the requests that wait."""
_SECONDS = 10.0
_PAUSES = (1.0, 2.0, 4.0)
_LONGEST_PAUSE = 10.0
_AGAIN = frozenset({429, 502, 503, 504})
"""What the specification calls retryable: https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes"""


class Forwarder:
    """Sends requests on, one after the other. `say` is told when that begins to fail, and when it works again."""

    def __init__(self, targets: Mapping[str, Target], say: Callable[[str], object]) -> None:
        self._targets = targets
        self._say = say
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_MOST_WAITING)
        self._bytes = 0
        self._failing = False
        self.dropped = 0
        """Requests that were not sent on."""

    def put(self, signal: str, body: bytes) -> None:
        """Have a request of protobuf sent on, if its signal goes anywhere. Where there is no room it is dropped."""
        if signal not in self._targets:
            return
        if self._waiting.full() or self._bytes + len(body) > _MOST_BYTES:
            self.dropped += 1
            return
        self._bytes += len(body)
        self._waiting.put_nowait((signal, body))

    async def run(self) -> None:
        """Send until cancelled."""
        clients = {signal: _client(target) for signal, target in self._targets.items()}
        while True:
            signal, body = await self._waiting.get()
            why = await self._send(clients[signal], self._targets[signal], body)
            self._bytes -= len(body)
            if why:
                self.dropped += 1
            if bool(why) != self._failing:
                self._failing = bool(why)
                self._say(f"nothing is forwarded: {why}" if why else "what comes is forwarded again")

    async def _send(self, client: httpx2.AsyncClient | None, target: Target, body: bytes) -> str:
        """Send a request, and return why that failed: in a few words, without what was sent or where to."""
        if client is None:
            return "the certificates that are to be trusted cannot be read"
        headers = {"content-type": "application/x-protobuf", **target.headers}
        if target.gzip:
            body = await asyncio.to_thread(gzip.compress, body)
            headers["content-encoding"] = "gzip"
        why = ""
        for pause in (*_PAUSES, None):
            again = pause
            try:
                answer = await client.post(target.url, content=body, headers=headers)
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
                why = type(error).__name__
            else:
                if answer.is_success:
                    return ""
                why = f"it was answered with {answer.status_code}"
                if answer.status_code not in _AGAIN:
                    return why
                asked = answer.headers.get("retry-after", "")
                if pause is not None and asked.isdigit():
                    again = min(max(pause, float(asked)), _LONGEST_PAUSE)
            if again is not None:
                await asyncio.sleep(again)
        return why


def _client(target: Target) -> httpx2.AsyncClient | None:
    """Return what sends to a target, None where the certificates that it names cannot be read."""
    try:
        trusted = ssl.create_default_context(cafile=target.certificate) if target.certificate else True
    except (OSError, ValueError):
        return None
    return httpx2.AsyncClient(timeout=_SECONDS, verify=trusted)
