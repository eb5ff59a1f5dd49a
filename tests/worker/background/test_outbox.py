"""The outbox: when events are sent and in which form, with an event log in memory and a clock of the test's."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.cloud.events import Appended, EventLog, Frame
from cloudia.errors import UnavailableError
from cloudia.protocol import MAX_DELTA_CHARACTERS, QueuedJob
from cloudia.worker.background.outbox import Outbox, Stream
from tests.clock import Clock
from tests.worker.background.lines import AWAY, Line, running

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAME = 0.05
RESET = ("reset", {"reason": "events_interrupted"})


class Log(EventLog):
    """An event log in memory. A subclass, so that mypy holds it to the real one's signatures."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.frames: list[Frame] = []
        """What is in the log."""
        self.fences: dict[str, int] = {}
        """The highest fence that a job's events had."""
        self.ended: dict[str, int] = {}
        """The highest fence under which a job ended."""
        self.loses_answers = False
        """Whether a call that fails has written all the same."""

    async def append(self, frames: Sequence[Frame]) -> list[Appended]:
        try:
            await self.line.awaited(list(frames))
        except UnavailableError:
            if self.loses_answers:
                _ = [self._append(frame) for frame in frames]
            raise
        return [self._append(frame) for frame in frames]

    def _append(self, frame: Frame) -> Appended:
        job_id = frame.event.job_id or ""
        if self.fences.get(job_id, 0) > frame.fence:
            return Appended(None, "stale")
        if self.ended.get(job_id, 0) >= frame.fence:
            return Appended(None, "ended")
        if frame.goes_on and self.fences.get(job_id) != frame.fence:
            return Appended(None, "lost")
        self.fences[job_id] = frame.fence
        if frame.event.terminal:
            self.ended[job_id] = frame.fence
        self.frames.append(frame)
        return Appended(f"1-{len(self.frames)}")

    def forget(self) -> None:
        """Lose all, as a Redis that is started anew has."""
        self.frames, self.fences, self.ended = [], {}, {}

    def events(self, job_id: str = "a") -> list[tuple[str, Any]]:
        """What is in the log of one job: types with their data, neighbouring text joined."""
        found: list[tuple[str, Any]] = []
        for event in [frame.event for frame in self.frames if frame.event.job_id == job_id]:
            data = event.data or {}
            if event.type != "delta":
                found.append((event.type, data))
            elif found and found[-1][0] == "text":
                found[-1] = ("text", found[-1][1] + data["text"])
            else:
                found.append(("text", data["text"]))
        return found


def job(job_id: str = "a", *, session: str | None = "ses") -> QueuedJob:
    """Return a job whose events somebody may be listening to."""
    return QueuedJob(job_id, "cnv", "msg", "alice", "well?", 0.0, session_id=session)


def sent(line: Line) -> list[tuple[float, list[str]]]:
    """Return each round trip: when it began, and what it brought, text in quotes."""
    return [
        (at, [repr(frame.event.data["text"]) if frame.event.type == "delta" else frame.event.type for frame in frames])
        for at, frames in line.calls
    ]


@pytest.fixture
async def line(clock: Clock) -> Line:
    return Line(clock)


@pytest.fixture
async def log(line: Line) -> Log:
    return Log(line)


@pytest.fixture
async def outbox(log: Log) -> Outbox:
    return Outbox(log, frame_seconds=FRAME)


@pytest.fixture
async def stream(outbox: Outbox) -> Stream:
    return outbox.open(job(), attempt=2, fence=3)


# --- when ------------------------------------------------------------------------------------------------------------


async def test_an_event_is_sent_at_once(outbox: Outbox, line: Line, stream: Stream) -> None:
    """What is emitted is on its way in the same moment, also right after another event."""
    async with running(outbox.run()):
        await asyncio.sleep(1)
        stream.emit("started")
        await asyncio.sleep(0.02)
        stream.emit("done")
        await asyncio.sleep(1)
    assert sent(line) == [(1, ["started"]), (1.02, ["done"])]


async def test_text_that_comes_first_is_sent_at_once(outbox: Outbox, line: Line, stream: Stream) -> None:
    """The first text of a stream on which nothing was sent goes at once; so does text after a pause of a frame or more."""
    async with running(outbox.run()):
        await asyncio.sleep(1)
        stream.text("one")
        await asyncio.sleep(1)
        stream.text("two")
        await asyncio.sleep(1)
    assert sent(line) == [(1, ["'one'"]), (2, ["'two'"])]


async def test_the_first_text_of_an_answer_is_sent_at_once(outbox: Outbox, line: Line, stream: Stream) -> None:
    """The text that follows `started` within a frame goes as soon as it comes, not when the frame is over."""
    async with running(outbox.run()):
        stream.emit("started")
        await asyncio.sleep(0.02)
        stream.text("one")
        await asyncio.sleep(1)
    assert sent(line) == [(0, ["started"]), (0.02, ["'one'"])]


async def test_further_text_is_sent_at_most_once_a_frame(outbox: Outbox, line: Line, stream: Stream) -> None:
    """A hundred pieces within a second are a round trip each 50 ms; what came meanwhile is one delta."""
    async with running(outbox.run()):
        for number in range(100):
            stream.text(f"{number} ")
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
    times = [at for at, _ in line.calls]
    assert times[0] == 0
    assert all(after - before >= FRAME - 1e-9 for before, after in itertools.pairwise(times))
    assert len(times) >= 18
    assert all(len(frames) == 1 for _, frames in line.calls)
    assert "".join(frame.event.data["text"] for _, frames in line.calls for frame in frames) == "".join(
        f"{number} " for number in range(100)
    )


async def test_an_event_takes_the_text_before_it_along_at_once(outbox: Outbox, line: Line, stream: Stream) -> None:
    """What is emitted is not held back for a frame, and never overtakes text."""
    async with running(outbox.run()):
        stream.text("one")
        await asyncio.sleep(0.01)
        stream.text("two")
        await asyncio.sleep(0.01)
        stream.emit("done")
        await asyncio.sleep(1)
    assert sent(line) == [(0, ["'one'"]), (0.02, ["'two'", "done"])]


async def test_an_event_that_is_emitted_during_a_round_trip_waits_for_no_frame(
    outbox: Outbox, line: Line, stream: Stream
) -> None:
    """With 10 ms a round trip, `done` goes when the one before is over (and the 5 ms for others), not 50 ms later."""
    line.seconds = 0.01
    async with running(outbox.run()):
        stream.text("one")
        await asyncio.sleep(0.005)
        stream.emit("done")
        await asyncio.sleep(1)
    assert sent(line) == [(0, ["'one'"]), (0.015, ["done"])]


async def test_the_events_of_all_jobs_share_a_round_trip(outbox: Outbox, log: Log, line: Line) -> None:
    """What several streams have to send at the same moment is one request; each job's events keep their order."""
    streams = [outbox.open(job(name), attempt=1, fence=1) for name in "abc"]
    async with running(outbox.run()):
        for stream in streams:
            stream.emit("started")
            stream.text("hello")
            stream.emit("done")
        await asyncio.sleep(1)
    assert len(line.calls) == 1
    for name in "abc":
        assert log.events(name) == [("started", {}), ("text", "hello"), ("done", {})]


async def test_one_job_does_not_wait_for_the_frame_of_another(outbox: Outbox, line: Line) -> None:
    """A stream's frame time is its own."""
    one, other = outbox.open(job("a"), attempt=1, fence=1), outbox.open(job("b"), attempt=1, fence=1)
    async with running(outbox.run()):
        one.text("one")
        await asyncio.sleep(0.02)
        one.text("held")
        other.text("other")
        await asyncio.sleep(1)
    assert sent(line) == [(0, ["'one'"]), (0.02, ["'other'"]), (0.05, ["'held'"])]


# --- in which form ---------------------------------------------------------------------------------------------------


async def test_a_frame_bears_its_job_attempt_and_fence(outbox: Outbox, log: Log, stream: Stream) -> None:
    """All of it is on each frame, whatever its type."""
    async with running(outbox.run()):
        stream.emit("started", message_id="msg_1", max_attempts=5)
        stream.text("hello")
        await asyncio.sleep(1)
    assert [(frame.session_id, frame.fence) for frame in log.frames] == [("ses", 3)] * 2
    assert {(frame.event.job_id, frame.event.conversation_id, frame.event.attempt) for frame in log.frames} == {
        ("a", "cnv", 2)
    }
    assert log.events() == [("started", {"message_id": "msg_1", "max_attempts": 5}), ("text", "hello")]


Pieces = st.lists(st.text(max_size=9) | st.integers(0, 2 * MAX_DELTA_CHARACTERS) | st.none(), max_size=9)


@given(pieces=Pieces)
def test_text_is_coalesced_up_to_a_bound_and_nothing_of_it_is_lost(pieces: list[str | int | None]) -> None:
    """Neighbouring text is joined into deltas of at most MAX_DELTA_CHARACTERS; events stay where they were among it."""
    script = ["x" * piece if isinstance(piece, int) else piece for piece in pieces]

    async def play() -> list[Frame]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Clock)
        log = Log(Line(loop))
        outbox = Outbox(log, frame_seconds=FRAME)
        stream = outbox.open(job(), attempt=1, fence=1)
        for piece in script:
            if piece is None:
                stream.emit("started")
            else:
                stream.text(piece)
        async with running(outbox.run()):
            await asyncio.sleep(1)
        return log.frames

    with asyncio.Runner(loop_factory=Clock) as runner:
        frames = runner.run(play())
    deltas = [None if frame.event.type == "started" else str((frame.event.data or {})["text"]) for frame in frames]
    assert all(delta is None or 0 < len(delta) <= MAX_DELTA_CHARACTERS for delta in deltas)
    runs = "".join("\0" if piece is None else piece.replace("\0", " ") for piece in script)
    assert "".join("\0" if delta is None else delta.replace("\0", " ") for delta in deltas) == runs
    most = sum(len(run) // MAX_DELTA_CHARACTERS + (len(run) % MAX_DELTA_CHARACTERS > 0) for run in runs.split("\0"))
    assert len(deltas) == most + runs.count("\0")


@pytest.mark.parametrize("session", [None, "ses"])
async def test_where_nobody_can_listen_nothing_is_sent(clock: Clock, line: Line, session: str | None) -> None:
    """A job without a session, and a worker without Redis, send nothing, and wait for nothing."""
    outbox = Outbox(None if session else Log(line), frame_seconds=FRAME)
    stream = outbox.open(job(session=session), attempt=1, fence=1)
    async with running(outbox.run()):
        began = clock.time()
        stream.emit("started")
        stream.text("hello")
        await stream.flushed()
        stream.close()
        await outbox.drain(5)
        assert clock.time() == began
        await asyncio.sleep(1)
    assert line.calls == []


# --- when Redis is away ----------------------------------------------------------------------------------------------


async def test_after_an_outage_a_reset_and_the_whole_text_replace_what_may_be_missing(
    outbox: Outbox, log: Log, line: Line, stream: Stream
) -> None:
    """What was sent before the outage is sent again behind a `reset`, with all that came meanwhile, in one go."""
    async with running(outbox.run()):
        stream.emit("started")
        stream.text("one ")
        await asyncio.sleep(1)
        line.error = AWAY
        for piece in ("two ", "three "):
            stream.text(piece)
            await asyncio.sleep(1)
        line.error = None
        await asyncio.sleep(1)
        stream.text("four")
        stream.emit("done")
        await asyncio.sleep(1)
    assert log.events() == [
        ("started", {}),
        ("text", "one "),
        RESET,
        ("text", "one two three four"),
        ("done", {}),
    ]


async def test_where_redis_lost_its_memory_an_attempt_begins_anew(
    outbox: Outbox, log: Log, line: Line, stream: Stream
) -> None:
    """I4: what told of the attempt is gone, unseen perhaps, so a `reset` and the whole text come before what goes on."""
    async with running(outbox.run()):
        stream.emit("reset", reason="new_attempt")
        stream.text("one ")
        await asyncio.sleep(1)
        log.forget()
        stream.text("two ")
        await asyncio.sleep(1)
        assert log.events() == [RESET, ("text", "one two ")]
        log.forget()
        stream.text("three")
        stream.emit("done")
        await stream.flushed()
    assert log.events() == [RESET, ("text", "one two three"), ("done", {})]


async def test_text_that_is_void_is_not_sent_again(outbox: Outbox, log: Log, line: Line, stream: Stream) -> None:
    """A `reset` voids it, also where it was still to be sent; after an outage only what holds comes again."""
    async with running(outbox.run()):
        stream.text("void ")
        await asyncio.sleep(1)
        stream.text("void too")
        stream.begin_anew("kept ", reason="reasoning")
        await asyncio.sleep(1)
        line.error = AWAY
        stream.text("and new")
        await asyncio.sleep(1)
        line.error = None
        await asyncio.sleep(1)
    anew = [("reset", {"reason": "reasoning"}), ("text", "kept ")]
    assert log.events() == [("text", "void "), *anew, RESET, ("text", "kept and new")]


async def test_an_outage_from_the_beginning_begins_with_a_reset(
    outbox: Outbox, log: Log, line: Line, stream: Stream
) -> None:
    """Of the openings of an attempt, `started` and its `reset`, none is sent behind the `reset` that voids them."""
    line.error = AWAY
    async with running(outbox.run()):
        stream.emit("started")
        stream.emit("reset", reason="new_attempt")
        stream.text("hello")
        stream.emit("done")
        await asyncio.sleep(1)
        line.error = None
        await asyncio.sleep(1)
    assert log.events() == [RESET, ("text", "hello"), ("done", {})]


async def test_a_stream_that_sent_nothing_meanwhile_needs_no_reset(outbox: Outbox, log: Log, line: Line) -> None:
    """An outage that a stream did not meet leaves it as it is."""
    quiet, busy = outbox.open(job("q"), attempt=1, fence=1), outbox.open(job("b"), attempt=1, fence=1)
    async with running(outbox.run()):
        quiet.text("one ")
        await asyncio.sleep(1)
        line.error = AWAY
        busy.text("hello")
        await asyncio.sleep(1)
        line.error = None
        await asyncio.sleep(1)
        quiet.text("two")
        await asyncio.sleep(1)
    assert log.events("q") == [("text", "one two")]
    assert log.events("b") == [RESET, ("text", "hello")]


async def test_an_outage_is_tried_again_each_half_second_and_told_once(
    outbox: Outbox, line: Line, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when Redis goes, one when it is back, however many round trips failed between."""
    caplog.set_level("INFO", "cloudia")
    line.error = AWAY
    async with running(outbox.run()):
        stream.text("hello")
        await asyncio.sleep(1.7)
        assert [at for at, _ in line.calls] == [0, 0.5, 1, 1.5]
        line.error = None
        await asyncio.sleep(1)
    assert [entry.message for entry in caplog.records] == [
        "event log is away; answers are recorded all the same",
        "event log is back",
    ]


@pytest.mark.parametrize(("outage", "arrives"), [(29, True), (31, False)])
async def test_the_events_of_an_ended_job_linger_for_thirty_seconds(
    outbox: Outbox, log: Log, line: Line, stream: Stream, *, outage: float, arrives: bool
) -> None:
    """Redis that is back within 30 s of the end of a job gets its events; after that they are dropped."""
    line.error = AWAY
    async with running(outbox.run()):
        await asyncio.sleep(0.01)
        stream.text("hello")
        stream.emit("done")
        stream.close()
        await asyncio.sleep(outage)
        line.error = None
        await asyncio.sleep(5)
        before = len(line.calls)
        await asyncio.sleep(60)
        assert len(line.calls) == before
    assert log.events() == ([RESET, ("text", "hello"), ("done", {})] if arrives else [])


async def test_a_job_in_work_keeps_its_events_however_long_redis_is_away(
    outbox: Outbox, log: Log, line: Line, stream: Stream
) -> None:
    """Only the end of a job begins its 30 s."""
    line.error = AWAY
    async with running(outbox.run()):
        stream.text("hello")
        await asyncio.sleep(300)
        line.error = None
        await asyncio.sleep(1)
    assert log.events() == [RESET, ("text", "hello")]


# --- waiting ---------------------------------------------------------------------------------------------------------


async def test_flushed_returns_when_all_is_logged(outbox: Outbox, log: Log, line: Line, stream: Stream) -> None:
    """It waits for the round trip, and no longer."""
    line.seconds = 0.2
    async with running(outbox.run()):
        stream.text("hello")
        stream.emit("done")
        await stream.flushed()
        assert line.now == 0.2
        assert log.events() == [("text", "hello"), ("done", {})]
        await stream.flushed()
        assert line.now == 0.2


async def test_flushed_waits_for_a_round_trip_that_is_under_way(
    outbox: Outbox, log: Log, line: Line, stream: Stream
) -> None:
    """Events that are on their way are not logged yet."""
    line.seconds = 0.2
    async with running(outbox.run()):
        stream.emit("done")
        await asyncio.sleep(0.1)
        await stream.flushed()
        assert log.events() == [("done", {})]


async def test_flushed_waits_for_what_came_during_a_round_trip(
    outbox: Outbox, log: Log, line: Line, stream: Stream
) -> None:
    """The last text is on its way when `done` is emitted: `flushed` returns when `done` is logged too."""
    line.seconds = 0.2
    async with running(outbox.run()):
        stream.text("hello")
        await asyncio.sleep(0.1)
        stream.emit("done")
        await stream.flushed()
        assert log.events() == [("text", "hello"), ("done", {})]


async def test_flushed_waits_a_second_at_most(
    outbox: Outbox, line: Line, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """A log that takes its time holds nobody up: after 1 s the job goes on, and the log says so."""
    line.seconds = 9
    async with running(outbox.run()):
        stream.emit("done")
        await stream.flushed()
        assert line.now == 1
    assert [entry.message for entry in caplog.records] == ["events not logged yet"]


async def test_flushed_does_not_wait_for_a_redis_that_is_away(outbox: Outbox, line: Line, stream: Stream) -> None:
    """Once a round trip has failed, whoever asks goes on at once."""
    line.error = AWAY
    async with running(outbox.run()):
        stream.text("hello")
        await asyncio.sleep(0.1)
        stream.emit("done")
        await stream.flushed()
        assert line.now == 0.1


async def test_flushed_waits_no_longer_when_redis_goes_away_meanwhile(
    outbox: Outbox, line: Line, stream: Stream
) -> None:
    """The round trip that is waited for fails after 0.2 s: there is nothing more to wait for."""
    line.seconds, line.error = 0.2, AWAY
    async with running(outbox.run()):
        stream.emit("done")
        await stream.flushed()
        assert line.now == 0.2


async def test_draining_ends_when_all_is_logged_or_its_time_is_up(outbox: Outbox, line: Line, stream: Stream) -> None:
    """At the end of a worker all streams get a moment, and not more than that."""
    line.seconds = 0.2
    async with running(outbox.run()):
        stream.emit("done")
        await outbox.drain(2)
        assert 0.2 <= line.now < 0.21
        line.error = AWAY
        stream.emit("done")
        began = line.now
        await outbox.drain(2)
        assert 2 <= line.now - began < 2.01


# --- a newer attempt -------------------------------------------------------------------------------------------------


async def test_an_attempt_is_told_when_the_log_has_seen_a_newer_one(
    outbox: Outbox, log: Log, line: Line, stream: Stream
) -> None:
    """Its events are refused as stale, and `on_stale` is called; other streams of that round trip are not concerned."""
    told: list[str] = []
    stream.on_stale = lambda: told.append("a")
    other = outbox.open(job("b"), attempt=1, fence=1)
    other.on_stale = lambda: told.append("b")
    async with running(outbox.run()):
        stream.text("one")
        await asyncio.sleep(1)
        assert told == []
        log.fences["a"] = 4
        stream.text("two")
        stream.emit("done")
        other.text("hello")
        await stream.flushed()
    assert set(told) == {"a"}
    assert log.events("a") == [("text", "one")]
    assert log.events("b") == [("text", "hello")]


@given(
    sizes=st.lists(st.integers(0, 4), min_size=2, max_size=4),
    outages=st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 3)), max_size=3),
    forgets=st.lists(st.floats(0, 1.4), max_size=3),
    seconds=st.sampled_from([0.0, 0.01, 0.3]),
    loses_answers=st.booleans(),
)
def test_whatever_fails_the_client_has_the_whole_answer_in_the_end(
    sizes: list[int], outages: list[tuple[float, float]], forgets: list[float], *, seconds: float, loses_answers: bool
) -> None:
    """I4, I8: jobs stream while Redis comes, goes and forgets; in the end a log reads as its answer, from its last reset on.

    A job whose end was logged before all was forgotten has no log; its client asks for the record.
    """

    async def speak(stream: Stream, words: int) -> None:
        stream.emit("started")
        for number in range(words):
            await asyncio.sleep(0.3)
            stream.text(f"{number} ")
        stream.emit("done")
        stream.close()

    async def play() -> Log:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Clock)
        line = Line(loop, seconds)
        log = Log(line)
        log.loses_answers = loses_answers
        outbox = Outbox(log, frame_seconds=FRAME)

        def outage(*, begins: bool) -> None:
            line.error = AWAY if begins else None

        for begin, length in outages:
            loop.call_later(begin, lambda: outage(begins=True))
            loop.call_later(begin + length, lambda: outage(begins=False))
        for at in forgets:
            loop.call_later(at, log.forget)
        loop.call_later(7, lambda: outage(begins=False))
        async with running(outbox.run()):
            streams = [outbox.open(job(f"j{index}"), attempt=1, fence=1) for index in range(len(sizes))]
            await asyncio.gather(*(speak(stream, words) for stream, words in zip(streams, sizes, strict=True)))
            await asyncio.sleep(9)
        return log

    with asyncio.Runner(loop_factory=Clock) as runner:
        log = runner.run(play())
    for index, words in enumerate(sizes):
        events = log.events(f"j{index}")
        whole = [("text", "".join(f"{number} " for number in range(words)))] if words else []
        if forgets and not events:
            continue
        last = max((place for place, event in enumerate(events) if event == RESET), default=0)
        assert events[last] in [("started", {}), RESET]
        assert events[last + 1 :] == [*whole, ("done", {})]
