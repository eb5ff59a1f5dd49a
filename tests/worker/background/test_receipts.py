"""Receipts: renewal, deletion and handing back, with a queue in memory and a clock of the test's."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from cloudia.cloud.queue import JobQueue
from cloudia.errors import RefusedError
from cloudia.worker.background.receipts import Receipts
from cloudia.worker.background.refusals import Refusals
from tests.patience import HANGS
from tests.worker.background.lines import AWAY, Line, running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.clock import Clock

VISIBILITY = 30


class Queue(JobQueue):
    """A queue that notes what is asked of it. A subclass, so that mypy holds it to the real one's signatures."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.refused: set[str] = set()

    def delete(self, receipts: Sequence[str]) -> list[str]:
        self.line.blocking(("delete", *receipts))
        return [receipt for receipt in receipts if receipt in self.refused]

    def change_visibility(self, receipts: Sequence[str], seconds: int) -> list[str]:
        self.line.blocking((seconds, *receipts))
        return [receipt for receipt in receipts if receipt in self.refused]


@pytest.fixture
async def line(clock: Clock) -> Line:
    return Line(clock)


@pytest.fixture
async def queue(line: Line) -> Queue:
    return Queue(line)


@pytest.fixture
async def receipts(queue: Queue, refusals: Refusals) -> Receipts:
    return Receipts(queue, refusals, visibility_seconds=VISIBILITY)


async def test_what_is_held_is_renewed_at_a_third_of_its_time(receipts: Receipts, line: Line) -> None:
    """With 30 s of visibility there is a renewal every 10 s, each for 30 s; what is held later joins the next one."""
    async with running(receipts.run()):
        receipts.hold(["a", "b"])
        await asyncio.sleep(15)
        receipts.hold(["c"])
        await asyncio.sleep(16)
    assert line.calls == [(10, (30, "a", "b")), (20, (30, "a", "b", "c")), (30, (30, "a", "b", "c"))]


async def test_a_worker_that_holds_nothing_asks_nothing(receipts: Receipts, line: Line) -> None:
    """Where nothing is held, or nothing any more, the queue is left alone."""
    async with running(receipts.run()):
        await asyncio.sleep(25)
        receipts.hold(["a"])
        receipts.forget("a")
        await asyncio.sleep(25)
    assert line.calls == []


async def test_renewals_and_deletions_and_handing_back_go_in_batches_of_ten(receipts: Receipts, line: Line) -> None:
    """23 messages are three requests, of 10, 10 and 3, whatever is done to them."""
    names = [f"r{number}" for number in range(23)]
    receipts.hold(names)
    async with running(receipts.run()):
        await asyncio.sleep(11)
        await asyncio.gather(*(receipts.delete(name) for name in names))
    receipts.hold(names)
    await receipts.hand_back(names, 7)
    assert [(what[0], what[1:]) for _, what in line.calls] == [
        (action, tuple(names[start : start + 10])) for action in (30, "delete", 7) for start in (0, 10, 20)
    ]


async def test_the_same_message_is_held_once(receipts: Receipts) -> None:
    """How many messages are held counts each once, and those that were let go no more."""
    receipts.hold(["a", "b", "b"])
    receipts.hold(["a"])
    assert len(receipts) == 2
    receipts.forget("a")
    receipts.forget("never held")
    assert len(receipts) == 1
    await receipts.delete("b")
    assert len(receipts) == 0


async def test_deletions_of_one_moment_share_a_request(receipts: Receipts, line: Line) -> None:
    """Three deletions within 10 ms are one request; one that comes later is another."""
    receipts.hold("abcd")
    first = [asyncio.create_task(receipts.delete(name)) for name in "ab"]
    await asyncio.sleep(0.005)
    await asyncio.gather(*first, receipts.delete("c"))
    await receipts.delete("d")
    assert [what for _, what in line.calls] == [("delete", "a", "b", "c"), ("delete", "d")]


async def test_a_deletion_returns_when_the_message_is_gone(receipts: Receipts, line: Line) -> None:
    """It waits for the request, and one that comes while the request is under way waits for its own."""
    line.seconds = 2
    receipts.hold("ab")
    first = asyncio.create_task(receipts.delete("a"))
    await asyncio.sleep(1)
    assert not first.done()
    await receipts.delete("b")
    assert first.done()
    assert line.calls == [(0.01, ("delete", "a")), (1.01, ("delete", "b"))]
    assert line.now == 3.01


@pytest.mark.parametrize("how", ["delete", "hand_back"])
async def test_a_renewal_under_way_is_awaited(receipts: Receipts, line: Line, how: str) -> None:
    """A message is deleted or handed back only after the renewal that has it, so that this cannot undo a back-off."""
    receipts.hold("ab")
    async with running(receipts.run()):
        await asyncio.sleep(9.9)
        line.seconds = 3
        await asyncio.sleep(1)
        line.seconds = 0
        await (receipts.delete("a") if how == "delete" else receipts.hand_back(["a"], 4))
        assert line.calls[0] == (10, (30, "a", "b"))
        at, what = line.calls[1]
        assert at >= 13
        assert what == (("delete", "a") if how == "delete" else (4, "a"))
        await asyncio.sleep(12)
        assert line.calls[2][1] == (30, "b")


async def test_what_was_let_go_is_not_renewed_by_a_renewal_that_begins_meanwhile(
    receipts: Receipts, line: Line
) -> None:
    """A request to hand back that takes longer than a third of the visibility is not undone by a renewal."""
    receipts.hold("ab")
    async with running(receipts.run()):
        await asyncio.sleep(9)
        line.seconds = 4
        await receipts.hand_back(["a"], 4)
        line.seconds = 0
        await asyncio.sleep(20)
    assert [what for _, what in line.calls] == [(4, "a"), (30, "b"), (30, "b"), (30, "b")]


async def test_a_receipt_that_is_refused_is_out_of_our_hands(
    receipts: Receipts, queue: Queue, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    """Its deletion returns after one request, and the log says how many were refused."""
    queue.refused = {"b"}
    receipts.hold("abc")
    await asyncio.gather(*(receipts.delete(name) for name in "abc"))
    assert len(line.calls) == 1
    assert [(entry.message, entry.fields["count"]) for entry in caplog.records] == [("messages not deleted", 1)]  # type: ignore[attr-defined]


async def test_a_queue_that_comes_back_gets_what_was_meant_for_it(receipts: Receipts, line: Line) -> None:
    """While the queue is away a request is sent again, with longer pauses; the deletion returns when it went through."""
    receipts.hold("a")
    line.error = AWAY
    deletion = asyncio.create_task(receipts.delete("a"))
    await asyncio.sleep(0.5)
    assert not deletion.done()
    line.error = None
    await deletion
    assert [at for at, _ in line.calls] == [0.01, 0.11, 0.31, 0.71]


@pytest.mark.parametrize("how", ["delete", "hand_back"])
async def test_a_queue_that_stays_away_is_given_up(
    receipts: Receipts, line: Line, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Five requests within 1.6 s, one line in the log, and whoever waits goes on: the message comes back by itself."""
    receipts.hold("ab")
    line.error = AWAY
    await (
        asyncio.gather(receipts.delete("a"), receipts.delete("b"))
        if how == "delete"
        else receipts.hand_back(["a", "b"], 4)
    )
    assert len(line.calls) == 5
    assert line.now < 1.6
    assert [entry.message for entry in caplog.records] == [
        "messages not deleted" if how == "delete" else "messages not handed back"
    ]


async def test_renewing_goes_on_after_the_queue_was_away(receipts: Receipts, line: Line) -> None:
    """A renewal that was given up is followed by the next, and each of its batches is tried."""
    names = [f"r{number}" for number in range(12)]
    receipts.hold(names)
    line.error = AWAY
    async with running(receipts.run()):
        await asyncio.sleep(14)
        assert sorted(len(what) - 1 for _, what in line.calls) == [2] * 5 + [10] * 5
        line.error, line.calls = None, []
        await asyncio.sleep(10)
    assert [len(what) - 1 for _, what in line.calls] == [10, 2]


async def test_what_sqs_refuses_for_good_holds_nobody_up(
    receipts: Receipts, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    """I7: an error that no retry can mend is logged, a deletion returns, and the other messages are renewed all the same."""
    receipts.hold("abc")
    line.error = PermissionError("AccessDenied")
    async with running(receipts.run()) as renewing:
        async with asyncio.timeout(HANGS):
            await asyncio.gather(receipts.delete("a"), receipts.delete("b"))
        assert len(line.calls) == 1
        await asyncio.sleep(11)
        assert not renewing.done()
        line.error, line.calls = None, []
        await asyncio.sleep(10)
    assert [what for _, what in line.calls] == [(30, "c")]
    messages = {entry.message for entry in caplog.records}
    assert messages == {"messages not deleted", "messages not renewed", "refused"}


async def test_what_is_refused_is_asked_for_once_and_told_until_it_is_allowed(
    receipts: Receipts, refusals: Refusals, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    """I7: a refusal is not tried five times; it stands until a request of its kind goes through, and is logged once."""
    caplog.set_level(logging.INFO)
    receipts.hold("abc")
    line.error = RefusedError("AWS does not allow DeleteMessageBatch", hint="Grant it.", code="aws_refused")
    await receipts.delete("a")
    await receipts.delete("b")
    assert len(line.calls) == 2
    assert refusals.told() == {"messages deleted": "AWS does not allow DeleteMessageBatch"}
    line.error = None
    await receipts.delete("c")
    assert refusals.told() == {}
    assert [entry.message for entry in caplog.records if "refused" in entry.message] == ["refused", "no longer refused"]


async def test_a_deletion_that_nobody_waits_for_any_more_is_made_all_the_same(receipts: Receipts, line: Line) -> None:
    """Whoever is cancelled while it waits does not take the others along."""
    receipts.hold("ab")
    given_up = asyncio.create_task(receipts.delete("a"))
    await asyncio.sleep(0.005)
    given_up.cancel()
    await receipts.delete("b")
    assert [what for _, what in line.calls] == [("delete", "a", "b")]


async def test_i7_two_thousand_messages_stay_hidden_where_each_request_takes_a_second(
    queue: Queue, refusals: Refusals, line: Line
) -> None:
    """I7: with 60 s of visibility no message goes 60 s without a renewal, and one that is deleted waits for its own alone."""
    receipts = Receipts(queue, refusals, visibility_seconds=60)
    names = [f"r{number}" for number in range(2000)]
    receipts.hold(names)
    line.seconds = 1
    async with running(receipts.run()):
        await asyncio.sleep(20.5)
        began = line.now
        await receipts.delete("r0")
        assert line.now - began < 3
        await asyncio.sleep(180)
    renewed: dict[str, list[float]] = {}
    for at, (what, *some) in line.calls:
        for name in some if what == 60 else []:
            renewed.setdefault(name, [0.0]).append(at)
    assert set(renewed) == set(names)
    assert max(later - at for name in names[1:] for at, later in pairwise([*renewed[name], line.now])) < 40


async def test_i7_a_request_that_hangs_holds_up_no_other(receipts: Receipts, queue: Queue, line: Line) -> None:
    """I7: whoever waits for a request that never comes back goes on when the visibility has run out; others do meanwhile."""
    receipts.hold("ab")
    line.seconds = 100
    began = line.now
    hanging = asyncio.create_task(receipts.delete("a"))
    await asyncio.sleep(1)
    line.seconds = 0
    await receipts.delete("b")
    assert line.now - began < 2
    await hanging
    assert line.now - began < VISIBILITY + 1
