"""The client: sends messages and follows their answers, whatever happens to the connection meanwhile."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from cloudia.client.api import Api
from cloudia.client.stream import EventStream
from cloudia.client.tokens import TokenSource
from cloudia.errors import InvalidRequestError, NotFoundError, TimedOutError, UnavailableError
from cloudia.protocol import TERMINAL_STATUSES, Accepted, Event, PostMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self

    from cloudia.client.addresses import Address
    from cloudia.client.tokens import Token

__all__ = ["Client"]

_POLL_SECONDS = 5.0
"""How long a job may be silent before it is asked for over HTTP."""
_OPENINGS = {"started", "reset"}
"""What a whole answer begins with. Without one, or where events were lost after it, its text is not to be trusted."""
_READY_SECONDS = 10.0
_MOST_JOBS = 4096
_MOST_EVENTS = 1000
"""Events of a job that wait for who follows it; who is further behind gets the answer from the record."""
_SENDS = 4


class Client:
    """One user's client. Use as `async with Client(...) as client`.

    `token` is a bearer token, or a function that returns one: it is asked again when one has expired, and the session goes on.
    With a token alone that is an `UnauthorizedError`. The URLs may be functions, too: they are asked for each request and each
    connection, so that a stack that comes back at other addresses is found.
    """

    def __init__(
        self,
        api_url: Address,
        websocket_url: Address,
        token: Token,
        *,
        session_id: str | None = None,
        last_event_id: str | None = None,
    ) -> None:
        tokens = TokenSource(token)
        self.api = Api(api_url, tokens)
        self.stream = EventStream(websocket_url, tokens, session_id=session_id, last_event_id=last_event_id)
        self._jobs: OrderedDict[str, asyncio.Queue[Event | None]] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._ready = asyncio.Event()
        self._failure: BaseException | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reading:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self.api.__aexit__(kind, error, traceback)

    @property
    def failure(self) -> BaseException | None:
        """Why no more events come; None while they do."""
        return self._failure

    async def connected(self, *, timeout: float = _READY_SECONDS) -> str:  # noqa: ASYNC109 - part of the interface
        """Wait for the gateway's `ready`. Return the session id. `TimedOutError` where it does not come."""
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError as error:
            raise TimedOutError(
                "the gateway did not answer", hint="Is the stack running? See `cloudia status`."
            ) from error
        if self._failure:
            raise self._failure
        assert self.stream.session_id is not None  # noqa: S101 - `ready` bears it
        return self.stream.session_id

    async def send(
        self, content: str, *, conversation_id: str | None = None, idempotency_key: str | None = None
    ) -> Accepted:
        """Send a message for this session. A request that may not have arrived is sent again, and is one message.

        So is one whose session is none any more: the stream may not have begun a new one yet.
        """
        key = idempotency_key or secrets.token_urlsafe(16)
        for attempt in range(_SENDS):
            session_id = await self.connected()
            try:
                return await self.api.post_message(PostMessage(content, conversation_id, session_id, key))
            except (UnavailableError, TimedOutError, NotFoundError) as error:
                other = isinstance(error, NotFoundError) and error.code != "no_session"
                if other or attempt == _SENDS - 1:
                    raise
                await asyncio.sleep(0.2 * 2**attempt)
        raise AssertionError

    async def follow(self, job_id: str) -> AsyncIterator[Event]:
        """Yield the events of a job of this session until it ends.

        The job's record has the last word: where events were lost, the answer is taken from there.
        """
        queue, whole = self._queue(job_id), False
        try:
            while True:
                event = await _next(queue, _POLL_SECONDS)
                if event and event.type != "ready":
                    whole = whole or event.type in _OPENINGS
                    if whole or not event.terminal or event.type == "error":
                        yield event
                        if event.terminal:
                            return
                        continue
                elif event:
                    whole = False
                job = await self._ended_job(job_id)
                if job:
                    for event in _from_record(job):
                        yield event
                    return
        finally:
            self._jobs.pop(job_id, None)
            self._ended[job_id] = None
            if len(self._ended) > _MOST_JOBS:
                self._ended.popitem(last=False)

    async def _ended_job(self, job_id: str) -> dict[str, Any] | None:
        """Return the record of a job that has ended, whose events are silent or were lost."""
        if self._failure:
            raise self._failure
        try:
            async with asyncio.timeout(_POLL_SECONDS):  # The job's events may come while this hangs.
                job = await self.api.job(job_id)
        except (UnavailableError, TimedOutError, TimeoutError):
            return None
        return job if job["status"] in TERMINAL_STATUSES else None

    async def ask(self, content: str, *, conversation_id: str | None = None) -> AsyncIterator[Event]:
        """Send a message and yield the events of its answer."""
        accepted = await self.send(content, conversation_id=conversation_id)
        async for event in self.follow(accepted.job_id):
            yield event

    def _queue(self, job_id: str) -> asyncio.Queue[Event | None]:
        """Return the events of a job; they may come before the 202 that names it, so they are kept from the first on."""
        if job_id not in self._jobs:
            self._jobs[job_id] = asyncio.Queue()
            if len(self._jobs) > _MOST_JOBS:
                self._jobs.popitem(last=False)
        return self._jobs[job_id]

    async def _read(self) -> None:
        """Read until closed, or until going on is useless. A session that the gateway no longer knows is left for a new one."""
        try:
            while await self._read_session():
                self._ready.clear()
                self.stream.forget()
        except Exception as error:  # noqa: BLE001 - raised to whoever waits
            self._failure = error
            self._ready.set()
            self._nudge(None)

    async def _read_session(self) -> bool:
        """Read a session's events. Return whether the gateway no longer knows it; raises what else makes going on useless."""
        try:
            async for event in self.stream.events():
                if event.type == "ready":
                    self._ready.set()
                    if not (event.data or {}).get("resumed"):
                        self._nudge(event)
                elif event.job_id and event.job_id not in self._ended:
                    _put(self._queue(event.job_id), event)
        except InvalidRequestError as error:
            if error.code != "no_session" or not self.stream.session_id:
                raise
            return True
        return False

    def _nudge(self, ready: Event | None) -> None:
        """Make everyone who follows a job look at its record: events were lost before this `ready`, or none will come."""
        for queue in self._jobs.values():
            _put(queue, ready)


def _put(queue: asyncio.Queue[Event | None], event: Event | None) -> None:
    """Add an event. Where too many wait they are left out, and a `ready` in their place says so, as for a connection's."""
    if queue.qsize() >= _MOST_EVENTS:
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(Event("ready"))
    queue.put_nowait(event)


async def _next(queue: asyncio.Queue[Event | None], seconds: float) -> Event | None:
    """Return the next event; None after `seconds` of silence, or where no more will come."""
    try:
        async with asyncio.timeout(seconds):
            return await queue.get()
    except TimeoutError:
        return None


def _from_record(job: dict[str, Any]) -> list[Event]:
    """Return the events that make of any state what the record says."""
    reply = job.get("reply") or {}
    ids = {"job_id": job["job_id"], "conversation_id": job["conversation_id"], "attempt": job["attempts"]}
    events = [Event("reset", data={"reason": "events_lost"}, **ids)]
    if reply.get("content"):
        events.append(Event("delta", data={"text": reply["content"]}, **ids))
    facts = {"message_id": job["reply_message_id"]}
    if job["status"] == "done":
        facts |= {name: job.get(name) for name in ("usage", "provider", "model", "finish")}
    if job["status"] in {"done", "cancelled"}:
        return [*events, Event(job["status"], data=facts, **ids)]
    return [
        *events,
        Event("error", data={"status": job["status"], "error": job["error"] or {}, "finish": job.get("finish")}, **ids),
    ]
