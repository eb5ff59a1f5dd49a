"""The outbox: events on their way to the log, coalesced, those of all jobs of a worker in one round trip.

The first text of an answer is sent at once, what follows at most once per frame time. When Redis was away, or has lost its
memory, a `reset` and the whole text so far replace what may be missing; the answer itself never waits for Redis.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from cloudia import telemetry
from cloudia.cloud.events import Frame
from cloudia.errors import UnavailableError
from cloudia.protocol import MAX_DELTA_CHARACTERS, Event
from cloudia.telemetry.events import AttemptIds, FramePushed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cloudia.cloud.events import Appended, EventLog
    from cloudia.protocol import QueuedJob

__all__ = ["Outbox", "Stream"]

_LINGER_SECONDS = 30.0
"""How long the events of an ended job wait for Redis to come back."""
_FLUSH_SECONDS = 1.0
"""How long a job waits for its events to be logged; after that it goes on, for the record does not depend on Redis."""
_RETRY_SECONDS = 0.5
_GATHER_SECONDS = 0.005
"""Pause between two round trips, in which frames of other jobs gather."""

_TEXTS = frozenset({"delta", "thinking"})
"""Text is sent at most once per frame time. Other events begin no frame, so that the first text behind them goes at once."""

_Control: TypeAlias = tuple[str, dict[str, Any]]


class Stream:
    """The events of one attempt at one job: `script` is all of them, the first `_taken` are on their way or logged."""

    def __init__(self, outbox: Outbox, job: QueuedJob, *, attempt: int, fence: int) -> None:
        self._outbox = outbox
        self._job = job
        self._attempt = attempt
        self._fence = fence
        self._script: list[str | _Control] = []
        self._taken = 0
        self._interrupted = False
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        """Each waits for so many items of the script to be logged."""
        self._urgent = False
        self.next_flush = 0.0
        self.expires: float | None = None
        self.on_stale: Callable[[], None] = lambda: None
        """Called when the log has seen a newer attempt at this job."""

    def text(self, piece: str) -> None:
        """Add text to the answer."""
        self._script.append(piece)
        self._outbox.add(self)

    def thinking(self, piece: str) -> None:
        """Tell what the model reasons; like text it is coalesced, at most once per frame time."""
        self._script.append(("thinking", {"text": piece}))
        self._outbox.add(self)

    def begin_anew(self, text: str, *, reason: str) -> None:
        """Void all text so far, by a `reset`; `text` is the answer from then on."""
        self._script = ["" if isinstance(item, str) else item for item in self._script]  # Waiters count the items.
        self.emit("reset", reason=reason)
        self.text(text)

    def emit(self, kind: str, **data: Any) -> None:
        """Add an event after all text so far; it is not held back for a frame."""
        self._script.append((kind, data))
        self._urgent, self.next_flush = True, 0.0
        self._outbox.add(self)

    async def flushed(self) -> None:
        """Wait until all so far is logged: at most 1 s, and not at all while Redis is away."""
        if not self._outbox.holds(self):
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((len(self._script), done))
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await done
        except TimeoutError:
            telemetry.log("events not logged yet", level=logging.WARNING)

    def close(self) -> None:
        """Say that nothing follows. What is not logged yet lingers for 30 s."""
        self.expires = asyncio.get_running_loop().time() + _LINGER_SECONDS

    @property
    def session_id(self) -> str | None:
        """The session that the events are for."""
        return self._job.session_id

    def take(self) -> list[Frame]:
        """Return the frames that are due; from now on they are on their way."""
        due: list[str | _Control] = self._script[self._taken :]
        begun = self._taken > 0 and not self._interrupted
        if self._interrupted:
            openings = {"started", "reset", "thinking"}
            due = [("reset", {"reason": "events_interrupted"})]
            due += [item for item in self._script if isinstance(item, str) or item[0] not in openings]
        self._taken, self._interrupted, self._urgent = len(self._script), False, False
        job, session = self._job, self._job.session_id or ""
        return [
            Frame(
                session,
                self._fence,
                Event(kind, job.job_id, job.conversation_id, self._attempt, data),
                begun or place > 0,
            )
            for place, (kind, data) in enumerate(_coalesced(due))
        ]

    def logged(self, frames: Sequence[Frame], *, next_frame: float, stale: bool) -> None:
        """Learn that what was taken is in the log, or refused as `stale`.

        After text there is none before `next_frame`, unless something that is not held back was added meanwhile.
        """
        if not self._urgent and any((frame.event.data or {}).get("text") for frame in frames):
            self.next_flush = next_frame
        self._release(self._taken)
        if stale:
            self.on_stale()

    def _release(self, items: float) -> None:
        """Let those go on who wait for so many items at most."""
        for wanted, waiter in self._waiters:
            if wanted <= items and not waiter.done():
                waiter.set_result(None)
        self._waiters = [(wanted, waiter) for wanted, waiter in self._waiters if not waiter.done()]

    def tell(self, frames: Sequence[Frame], outcomes: Sequence[Appended], *, seconds: float) -> None:
        """Tell listeners what became of each frame in a round trip of `seconds`."""
        job, now = AttemptIds.at(self._job, attempt=self._attempt, fence=self._fence), time.time()
        for frame, outcome in zip(frames, outcomes, strict=True):
            telemetry.notify(
                FramePushed(
                    job=job,
                    at=now,
                    seconds=seconds,
                    kind=frame.event.type,
                    event_id=outcome.id,
                    refused=outcome.refused,
                    characters=len((frame.event.data or {}).get("text", "")),
                )
            )

    def interrupted(self) -> None:
        """Learn that it is not known what of this attempt is in the log."""
        self._interrupted = True

    def unreachable(self) -> None:
        """Learn that Redis is away: nobody waits for it."""
        self._release(math.inf)


def _coalesced(items: Iterable[str | _Control]) -> Iterable[_Control]:
    """Join neighbouring text, and neighbouring reasoning, into events of a bounded size; leave the rest as it is."""
    for kind, group in groupby(items, key=lambda item: "delta" if isinstance(item, str) else item[0]):
        if kind not in _TEXTS:
            yield from (item for item in group if not isinstance(item, str))
            continue
        text = "".join(item if isinstance(item, str) else item[1].get("text", "") for item in group)
        for start in range(0, len(text), MAX_DELTA_CHARACTERS):
            yield kind, {"text": text[start : start + MAX_DELTA_CHARACTERS]}
        if not text and kind == "thinking":
            yield kind, {}


class Outbox:
    """The streams of a worker, and the one task that logs their events."""

    def __init__(self, log: EventLog | None, *, frame_seconds: float) -> None:
        self._log = log
        self._frame_seconds = frame_seconds
        self._dirty: dict[Stream, None] = {}
        self._flushing: frozenset[Stream] = frozenset()
        self._wake = asyncio.Event()
        self._sleeps_until = 0.0
        self._reachable = True
        self._now = asyncio.get_running_loop().time

    def open(self, job: QueuedJob, *, attempt: int, fence: int) -> Stream:
        """Return the stream of a new attempt."""
        return Stream(self, job, attempt=attempt, fence=fence)

    def add(self, stream: Stream) -> None:
        """Note that a stream has something to send, if anybody can be listening."""
        if self._log is None or stream.session_id is None:
            return
        self._dirty[stream] = None
        if stream.next_flush < self._sleeps_until:
            self._wake.set()

    def holds(self, stream: Stream) -> bool:
        """Tell whether events of a stream are still to be logged, and can be."""
        return self._reachable and (stream in self._dirty or stream in self._flushing)

    async def run(self) -> None:
        """Log events until cancelled."""
        while True:
            await self._until_due()
            now = self._now()
            due = [stream for stream in self._dirty if stream.next_flush <= now]
            if due:
                logged = await self._flush(due)
                await asyncio.sleep(_GATHER_SECONDS if logged else _RETRY_SECONDS)

    async def drain(self, seconds: float) -> None:
        """Wait until all is logged, at most `seconds`."""
        deadline = self._now() + seconds
        while (self._dirty or self._flushing) and self._now() < deadline:  # noqa: ASYNC110 - streams come and go
            await asyncio.sleep(_GATHER_SECONDS)

    async def _until_due(self) -> None:
        self._wake.clear()
        self._sleeps_until = min((stream.next_flush for stream in self._dirty), default=float("inf"))
        delay = self._sleeps_until - self._now()
        if delay > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay if self._dirty else None):
                    await self._wake.wait()

    async def _flush(self, streams: list[Stream]) -> bool:
        taken = [(stream, stream.take()) for stream in streams]
        for stream in streams:
            del self._dirty[stream]
        self._flushing = frozenset(streams)
        began = time.perf_counter()
        try:
            appended = await self._log.append([frame for _, frames in taken for frame in frames]) if self._log else []
        except UnavailableError as error:
            self._flushing = frozenset()
            self._note(error)
            for stream in streams:
                stream.interrupted()
                if stream.expires is None or self._now() < stream.expires:
                    self._dirty[stream] = None
            for stream in (*streams, *self._dirty):
                stream.unreachable()
            return False
        self._flushing = frozenset()
        self._note(None)
        outcomes = iter(appended)
        for stream, frames in taken:
            own = [next(outcomes) for _ in frames]
            if telemetry.listening():
                stream.tell(frames, own, seconds=time.perf_counter() - began)
            if any(outcome.refused == "lost" for outcome in own):
                stream.interrupted()
                self._dirty[stream] = None
                continue
            stale = any(outcome.refused == "stale" for outcome in own)
            stream.logged(frames, next_frame=self._now() + self._frame_seconds, stale=stale)
        return True

    def _note(self, error: UnavailableError | None) -> None:
        """Say once that Redis went away, and why, and once that it is back."""
        if (error is None) == self._reachable:
            return
        self._reachable = error is None
        if error:
            away = "event log is away; answers are recorded all the same"
            telemetry.log(away, level=logging.WARNING, code=error.code, reason=error.message, hint=error.hint)
        else:
            telemetry.log("event log is back")
