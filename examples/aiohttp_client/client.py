"""A client of the chat, written from docs/protocol.md alone, with aiohttp and nothing of cloudia's."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Self

PROTOCOL = 1
OPEN = 5.0  # how long a connection may take until its `ready`
FIRST_BACKOFF, LAST_BACKOFF = 0.1, 3.0
SILENT_BEATS = 2  # heartbeats that a connection may miss
SILENT_JOB = 5.0  # how long a job may be silent before its record is asked for
START = "0-0"  # the id before every event's
BAD_FRAME, UNAUTHORIZED, REPLACED, TOO_LARGE = 4400, 4401, 4409, 1009
FINAL = {"done", "failed", "cancelled", "dead_lettered"}
TERMINAL = {"done", "error", "cancelled"}


class ClientError(Exception):
    """The gateway or the HTTP API refuses us, and to try again would be useless."""


class Client:
    """One user's session. Use as `async with Client(...) as client`."""

    def __init__(
        self, api_url: str, websocket_url: str, token: str, *, on_state: Callable[[str], object] = print
    ) -> None:
        self._api_url, self._websocket_url, self._token, self._on_state = api_url, websocket_url, token, on_state
        self._session: str | None = None
        self._last = START
        self._jobs: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._token}"})
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.wait({self._reading})
        await self._http.close()

    async def ask(self, content: str, *, conversation_id: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """Send a message and yield the events of its answer, the last of which is `done`, `error` or `cancelled`."""
        await self._unless_refused(self._ready)
        body = {"content": content, "session_id": self._session, "idempotency_key": secrets.token_urlsafe(16)}
        if conversation_id:
            body["conversation_id"] = conversation_id
        job_id = (await self._unless_refused(self._call("POST", "/messages", body)))["job_id"]
        events, whole = self._jobs.setdefault(job_id, asyncio.Queue()), False
        try:
            while True:
                try:
                    event = await self._unless_refused(asyncio.wait_for(events.get(), SILENT_JOB))
                except TimeoutError:
                    event = {"type": "silence"}
                if event["type"] in {"started", "reset"}:
                    whole = True  # Its beginning was seen, so that its text can be trusted.
                elif event["type"] == "lost":
                    whole = False
                asks = event["type"] in {"lost", "silence"} or (event["type"] in TERMINAL - {"error"} and not whole)
                if not asks:
                    yield event
                    if event["type"] in TERMINAL:
                        return
                elif record := await self._ended(job_id):
                    yield {"type": "reset", "reason": "events_lost"}
                    yield {"type": "delta", "text": (record.get("reply") or {}).get("content") or ""}
                    kind = record["status"] if record["status"] in TERMINAL else "error"
                    yield {"type": kind, "status": record["status"], "error": record.get("error")}
                    return
        finally:
            del self._jobs[job_id]

    # --- the WebSocket -------------------------------------------------------------------------------------------------

    async def _unless_refused(self, waiting: Any) -> Any:
        """Wait for something, unless the gateway has refused this client for good: then nothing comes any more."""
        task = asyncio.ensure_future(waiting)
        await asyncio.wait({task, self._reading}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            self._reading.result()
        return await task

    async def _read(self) -> None:
        backoff, refusals = FIRST_BACKOFF, 0
        while True:
            code, error, heard, silence = None, {}, False, OPEN
            opening = self._http.ws_connect(self._websocket_url, timeout=aiohttp.ClientWSTimeout(ws_close=0.5))
            try:
                async with asyncio.timeout(OPEN) as deadline, opening as socket:
                    await socket.send_json(self._hello())
                    async for frame in socket:
                        event = frame.json()
                        if event["type"] == "ready":
                            heard, silence = True, self._greet(event)
                        elif event["type"] == "error" and "job_id" not in event:
                            error = event["error"]
                        elif not self._take(event):
                            break  # What was swallowed comes again with the next connection.
                        deadline.reschedule(asyncio.get_running_loop().time() + silence)
                    code = socket.close_code
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            if heard:
                backoff, refusals = FIRST_BACKOFF, 0
            if code == BAD_FRAME and error.get("code") == "no_session" and self._session:
                self._session, self._last = None, START
            elif code in {BAD_FRAME, REPLACED, TOO_LARGE} or (code == UNAUTHORIZED and refusals):
                raise ClientError(error.get("message", "the session has a newer connection"))
            refusals += code == UNAUTHORIZED
            self._on_state("reconnecting")
            await asyncio.sleep(backoff * (0.5 + random.random() / 2))  # noqa: S311
            backoff = min(backoff * 2, LAST_BACKOFF)

    def _hello(self) -> dict[str, str]:
        hello = {"type": "hello", "token": self._token}
        if self._session:
            hello["session_id"] = self._session
        if self._last != START:
            hello["last_event_id"] = self._last
        return hello

    def _greet(self, ready: dict[str, Any]) -> float:
        """Take a `ready`. Return the seconds in which something has to come: for ever where the gateway has no heartbeats."""
        if ready["protocol"] > PROTOCOL:
            raise ClientError(f"the gateway speaks protocol {ready['protocol']}, and {PROTOCOL} is known here")
        self._on_state("resumed" if ready["resumed"] else "connected")
        self._session = ready["session_id"]
        if not self._ready.done():
            self._ready.set_result(None)
        if not ready["resumed"]:
            for events in self._jobs.values():
                events.put_nowait({"type": "lost"})
        return SILENT_BEATS * float(ready.get("heartbeat_seconds", 1e6))

    def _take(self, event: dict[str, Any]) -> bool:
        """Take an event of any type. Return whether none before it was lost on the way."""
        if "id" in event and _order(event["id"]) <= _order(self._last):
            return True
        if event.get("after", self._last) != self._last:
            return False
        self._last = event.get("id", self._last)
        if "job_id" in event:  # It may come before the 202 that names its job.
            self._jobs.setdefault(event["job_id"], asyncio.Queue()).put_nowait(event)
        return True

    # --- the HTTP API --------------------------------------------------------------------------------------------------

    async def _ended(self, job_id: str) -> dict[str, Any] | None:
        """Return the record of a job that has ended."""
        try:
            record = await self._once("GET", f"/jobs/{job_id}")
        except (aiohttp.ClientError, TimeoutError):
            return None
        return record if record["status"] in FINAL else None

    async def _call(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call the HTTP API, again and again while it may help."""
        until = time.monotonic() + 30
        while True:
            try:
                return await self._once(method, path, body)
            except (aiohttp.ClientError, TimeoutError):
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.5)

    async def _once(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        async with asyncio.timeout(SILENT_JOB), self._http.request(method, self._api_url + path, json=body) as answer:
            value: dict[str, Any] = await answer.json()
            if 400 <= answer.status < 500 and answer.status != 429:
                raise ClientError(value["error"]["message"])
            answer.raise_for_status()
            return value


def _order(event_id: str) -> tuple[int, int]:
    """Return what ids sort by: two whole numbers."""
    millis, _, sequence = event_id.partition("-")
    return int(millis), int(sequence)
