"""HTTP/1.1 as the edge speaks it: a request that does not come to its end in time is no request, nor is a head without one."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

__all__ = ["BoundedProtocol"]

_HEAD_SECONDS = 10.0
_REQUEST_SECONDS = 29.0
"""For head and body: a little less than a function may take to answer."""
_MAX_HEAD_BYTES = 65_536
"""Of a head that has not ended, whatever is in it; what a whole one may have is `app.py`'s to say."""


class BoundedProtocol(HttpToolsProtocol):
    """Answers 408 to who is too slow, 431 to a head that does not end, and hangs up."""

    _clock: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a first head."""
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on what came, and count it as long as it is of a head."""
        if self._clock is None:  # The first bytes of another request.
            self._begin()
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._hang_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Wait for the head."""
        super().on_message_begin()
        self._begin()

    def on_headers_complete(self) -> None:
        """Wait for the body."""
        self._in_head = False
        self._await(_REQUEST_SECONDS - _HEAD_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the application, whose deadlines are its own."""
        self._stop()
        super().on_message_complete()

    def _begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._await(_HEAD_SECONDS)

    def _await(self, seconds: float) -> None:
        self._stop()
        self._clock = self.loop.call_later(seconds, self._hang_up, HTTPStatus.REQUEST_TIMEOUT)

    def _stop(self) -> None:
        if self._clock:
            self._clock.cancel()
            self._clock = None

    def _hang_up(self, status: HTTPStatus) -> None:
        """Close the connection; say why, unless an answer is on its way already."""
        self._stop()
        if self.transport.is_closing():
            return
        if not (self.pipeline or self._is_answering()):
            self.transport.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
            )
        self.transport.close()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever its type says.
        return cycle is not None and cycle.response_started and not cycle.response_complete
