"""The drill: its storm comes again, its verdict can fail, and a short one is green."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.drill.gatekeeper import Gatekeeper
from cloudia.drill.storm import ALONE, Alone, StormSize, make_storm
from cloudia.drill.verdict import Sent, judge
from cloudia.drill.witness import Witness, _bursts
from cloudia.drill.worker import SetClock, suffer
from cloudia.errors import UnavailableError
from cloudia.protocol import AttemptRecord, Event
from tests.support import cli

if TYPE_CHECKING:
    from pathlib import Path


def test_the_same_seed_is_the_same_storm() -> None:
    """A storm is decided by its size and seed alone, and has as many messages as were asked for."""
    size = StormSize(jobs=203, conversations=20, seed=7)
    storm = make_storm(size)
    assert storm == make_storm(size)
    assert storm != make_storm(replace(size, seed=8))
    assert sum(len(messages) for messages in storm.conversations) == 203
    assert [blow.at for blow in storm.blows] == sorted(blow.at for blow in storm.blows)
    assert {blow.target for blow in storm.blows} == {"worker", "gateway", "redis", "client"}
    assert sum(rate for _, rate in storm.faults) == pytest.approx(0.3)


def test_a_storm_posts_at_once_on_one_connection_and_on_several() -> None:
    """Bursts of 2 to 5, none of them a conversation's first message; by functions that die, and of a later version, too."""
    storm = make_storm(StormSize(jobs=2000, conversations=20, seed=3))
    messages = [message for conversation in storm.conversations for message in conversation]
    assert not any(conversation[0].at_once for conversation in storm.conversations)
    bursts = [burst for conversation in storm.conversations for burst in _bursts(conversation)]
    assert {len(burst) for burst in bursts} == {1, 2, 3, 4, 5}
    several = [{message.connection for _, message in burst} for burst in bursts if len(burst) > 1]
    assert {len(connections) for connections in several} == {1, 2}
    assert {message.way for message in messages} == {"api", "late", "dies", "later"}


@pytest.mark.parametrize("name", ALONE)
def test_what_is_drilled_alone_is_alone(name: Alone) -> None:
    """Nothing is killed and the provider does not fail; of messages there is what was named, and no other."""
    storm = make_storm(StormSize(jobs=300, conversations=10).only([name]))
    messages = [message for conversation in storm.conversations for message in conversation]
    kinds = {
        "order": any(message.at_once for message in messages),
        "orphans": any(message.way == "dies" for message in messages),
        "skew": any(message.way == "later" for message in messages),
        "stopped": {(blow.target, blow.seconds > 4) for blow in storm.blows} == {("worker", True)},
    }
    kinds |= {
        "refused": any(trouble.refused for trouble in storm.troubles),
        "clock": any(abs(trouble.clock) >= 60 for trouble in storm.troubles),
    }
    assert bool(storm.blows) == kinds["stopped"]
    assert not storm.faults
    assert [kind for kind, there in kinds.items() if there] == [name]


def test_each_action_is_refused_before_any_again_and_then_allowed() -> None:
    """Refusals come one after the other; while none is due the gate lets everything through."""
    troubles = make_storm(StormSize(jobs=10, conversations=1).only(["refused"]), horizon=60).troubles
    assert len({trouble.refused for trouble in troubles[:7]}) == 7
    assert all(before.at + before.seconds < after.at for before, after in pairwise(troubles))
    gate = Gatekeeper("http://127.0.0.1")
    slept: list[tuple[float, list[str]]] = []
    suffer(
        troubles[:2],
        lambda trouble: gate.refusing(trouble.refused),
        sleep=lambda seconds: slept.append((seconds, sorted(gate.refuses))),
    )
    first, second = troubles[:2]
    assert [refused for _, refused in slept] == [[], [first.refused], [], [second.refused]]
    assert sum(seconds for seconds, _ in slept[:3]) == pytest.approx(second.at)
    assert not gate.refuses


def test_a_clock_is_set_and_is_right_again() -> None:
    """The first worker's clock is set by minutes, in both directions, for longer than a job takes, and between is right."""
    troubles = make_storm(StormSize(jobs=10, conversations=1).only(["clock"]), horizon=60).troubles
    assert {trouble.clock > 0 for trouble in troubles} == {True, False}
    clock = SetClock(lambda: 1000.0)
    shown: list[float] = []
    suffer(troubles[:2], lambda trouble: clock.set(trouble.clock), sleep=lambda _: shown.append(clock()))
    assert shown == [1000.0, 1000.0 + troubles[0].clock, 1000.0, 1000.0 + troubles[1].clock]
    assert clock() == 1000.0


def seen() -> tuple[Sent, list[dict[str, Any]]]:
    """Return a message as it should be seen, and its conversation's history."""
    ids = ("job_a", "cnv_a", 1)
    events = [
        Event("started", *ids, data={}, id="1-0"),
        Event("delta", *ids, data={"text": "hello"}, id="2-0"),
        Event("done", *ids, data={}, id="3-0"),
    ]
    reply = {"content": "hello"}
    sent = Sent(0, 0, "job_a", "msg_a", "cnv_a", ["job_a"], events, "hello", "done", {"status": "done", "reply": reply})
    history = [
        {"job_id": "job_a", "role": "user", "created_at": "1"},
        {"job_id": "job_a", "role": "assistant", "created_at": "2"},
    ]
    return sent, history


def broken(sent: Sent, history: list[dict[str, Any]], *, dead: tuple[str, ...] = ()) -> dict[str, int]:
    """Return which invariants a verdict says are broken."""
    return judge([sent], histories={"cnv_a": history}, dead_letters=dead, calls=[]).broken


def over(attempts: list[AttemptRecord]) -> int:
    """Return how many jobs a verdict says were taken over, of one with these attempts."""
    sent, history = seen()
    judged = judge([replace(sent, attempts=attempts)], histories={"cnv_a": history}, dead_letters=(), calls=[])
    return judged.taken_over


def test_what_is_as_it_should_be_breaks_nothing() -> None:
    """An answer that was recorded once and seen once is fine; so is a dead letter that is in the queue."""
    sent, history = seen()
    assert broken(sent, history) == {}
    buried = replace(sent, status="dead_lettered", job={"status": "dead_lettered", "reply": {"content": ""}})
    assert broken(buried, history, dead=("job_a",)) == {}


def test_the_verdict_sees_each_kind_of_damage() -> None:
    """I1 to I4: each kind of damage, made by hand, is seen as what it is."""
    sent, history = seen()
    assert broken(replace(sent, job={"status": "running"}), history[:1]) == {"I1": 1}
    buried = replace(sent, status="dead_lettered", job={"status": "dead_lettered", "reply": {"content": ""}})
    assert broken(buried, history) == {"I1": 1}
    assert broken(sent, [*history, history[1]]) == {"I2": 1}
    assert broken(replace(sent, again=["job_b"]), history) == {"I2": 1}
    early = [*history, {"job_id": "job_b", "role": "assistant", "created_at": "1"}]
    assert broken(sent, early) == {"I3": 1}
    assert broken(replace(sent, text="hell"), history) == {"I4": 1}
    assert broken(replace(sent, events=[*sent.events[:2], *sent.events[1:]]), history) == {"I4": 1}
    unannounced = replace(sent.events[1], attempt=2, id="9-0")
    assert broken(replace(sent, events=[*sent.events[:2], unannounced]), history) == {"I4": 1}


def test_the_verdict_sees_an_answer_that_overwrote_another() -> None:
    """I2: the history has one answer all the same; two recorded ends, two told ones, or an attempt of two workers are seen."""
    sent, history = seen()
    first = AttemptRecord(1, 1, "wrk_1", 1.0, ended_at=2.0, outcome="done")
    retried, second = replace(first, outcome="retried"), replace(first, attempt=2, fence=2)
    assert broken(replace(sent, attempts=[retried, second], ends={("done", 2)}), history) == {}
    assert broken(replace(sent, attempts=[first, second]), history) == {"I2": 1}
    assert [over([first]), over([replace(first, ended_at=None, outcome=None), second])] == [0, 1]
    assert broken(replace(sent, ends={("done", 1), ("done", 2)}), history) == {"I2": 1}
    calls = [{"job_id": "job_a", "attempt": attempt, "outcome": "answered"} for attempt in "112"]
    judged = [judge([sent], histories={"cnv_a": history}, dead_letters=(), calls=some) for some in (calls[1:], calls)]
    assert [(verdict.broken, verdict.paid_twice) for verdict in judged] == [({}, 1), ({"I2": 1}, 2)]


def test_a_verdict_without_calls_says_so() -> None:
    """Where the provider's records don't count, nothing is said of them; every other invariant is held all the same."""
    sent, history = seen()
    verdict = judge([sent], histories={"cnv_a": [*history, history[1]]}, dead_letters=(), calls=None)
    assert (verdict.broken, verdict.paid_twice, verdict.to_json()["paid_twice"]) == ({"I2": 1}, None, None)


def test_the_verdict_sees_a_turn_that_did_not_wait() -> None:
    """I3: begun before the end of the turn before it, though it was recorded later; also where that took two attempts."""
    sent, history = seen()
    other = replace(sent, job_id="job_b", message_id="msg_b", again=[], events=[])
    after = [{**history[0], "job_id": "job_b"}, {"job_id": "job_b", "role": "assistant", "created_at": "3"}]
    attempts = [AttemptRecord(1, 1, "wrk_1", 1.0, ended_at=2.0), AttemptRecord(2, 2, "wrk_1", 4.0, ended_at=5.0)]

    def wrong(began_at: float) -> int:
        turns = [replace(sent, attempts=attempts), replace(other, attempts=[AttemptRecord(1, 1, "wrk_2", began_at)])]
        return judge(turns, histories={"cnv_a": [*history, *after]}, dead_letters=(), calls=[]).out_of_order

    assert [wrong(began_at) for began_at in (1.5, 3.0, 5.0)] == [1, 1, 0]


def test_where_clocks_are_wrong_the_order_is_that_of_what_was_told() -> None:
    """I3: a turn that was begun and recorded earlier by its worker's clock is in order where it was told in order."""
    sent, history = seen()
    other = replace(sent, job_id="job_b", message_id="msg_b", again=[], attempts=[AttemptRecord(1, 1, "wrk_2", 0.5)])
    sent = replace(sent, attempts=[AttemptRecord(1, 1, "wrk_1", 1.0, ended_at=2.0)])
    after = [{**history[0], "job_id": "job_b"}, {"job_id": "job_b", "role": "assistant", "created_at": "0"}]

    def wrong(first: str, *, clocks: bool) -> int:
        told = [replace(sent.events[0], id=first), *(replace(event, id="9-0") for event in sent.events[1:])]
        turns = [sent, replace(other, events=told)]
        histories = {"cnv_a": [*history, *after]}
        return judge(turns, histories=histories, dead_letters=(), calls=(), clocks=clocks).out_of_order

    assert [wrong("4-0", clocks=True), wrong("4-0", clocks=False), wrong("2-0", clocks=False)] == [1, 0, 1]


def drilled(folder: Path, *options: str) -> dict[str, Any]:
    """Run a drill that must hold, and return its verdict."""
    done = cli("drill", *options, "--json", folder=folder, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


def test_bad_names_of_drills(tmp_path: Path) -> None:
    """What is no drill is a usage error, and nothing is started."""
    done = cli("drill", "--only", "order,nothing", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "order, orphans, skew, stopped, refused, clock" in done.stderr


def test_i1_i3_i9_hold_where_nothing_else_is_wrong(tmp_path: Path) -> None:
    """I1, I3, I9: posts at once, functions that die between their writes, and of a later version: 0 left, 0 out of order."""
    verdict = drilled(tmp_path, "--only", "order,orphans,skew", "--jobs", "40", "--conversations", "8")
    assert (verdict["broken"], verdict["answered"]) == ({}, 40)


@pytest.mark.long
def test_i2_i3_hold_where_workers_stand_still(tmp_path: Path) -> None:
    """I2, I3: a worker is stopped for longer than its leases, another one takes over, then it goes on: one answer each."""
    verdict = drilled(tmp_path, "--only", "stopped", "--jobs", "40", "--conversations", "8")
    assert (verdict["broken"], verdict["answered"]) == ({}, 40)
    assert verdict["taken_over"] > 0


@pytest.mark.long
def test_i1_i7_hold_where_aws_refuses_the_workers(tmp_path: Path) -> None:
    """I1, I7: what a worker asks of AWS is refused for good, one action after the other, then allowed: all is answered."""
    verdict = drilled(tmp_path, "--only", "refused", "--jobs", "40", "--conversations", "8")
    assert (verdict["broken"], verdict["answered"]) == ({}, 40)
    assert verdict["taken_over"] > 0


@pytest.mark.long
def test_i1_i2_i3_hold_where_a_clock_is_set(tmp_path: Path) -> None:
    """I1, I2, I3: one worker's clock is set by minutes, time and again, while workers also stand still: leases hold."""
    verdict = drilled(tmp_path, "--only", "clock,stopped", "--jobs", "40", "--conversations", "8")
    assert (verdict["broken"], verdict["answered"]) == ({}, 40)


_RESPONDER = """
import asyncio

async def answer(turn):
    yield "".join([text async for text in turn.llm.stream(turn.messages)])
    async for text in turn.llm.stream(turn.messages):
        await asyncio.sleep(0.01)
        yield text
"""


@pytest.mark.long
def test_i1_i2_i3_i4_hold_over_a_responder_of_the_users_own(tmp_path: Path) -> None:
    """I1 to I4: the storm runs over the project's responder, which asks the LLM twice; the project's folder is left alone."""
    (tmp_path / "cloudia.toml").write_text("limits.jobs_per_user = 1\n")
    (tmp_path / "my_bot.py").write_text(_RESPONDER)
    verdict = drilled(
        tmp_path, "--responder", "my_bot:answer", "--jobs", "40", "--conversations", "8", "--failures", "0.1"
    )
    assert (verdict["broken"], verdict["accepted"], verdict["paid_twice"]) == ({}, 40, None)
    assert not (tmp_path / ".cloudia").exists()


@pytest.mark.long
def test_i1_i2_i3_i4_hold_in_a_short_storm(tmp_path: Path) -> None:
    """I1 to I4: workers, gateways and Redis killed, 30 % of the LLM's calls failing, clients cut; nothing is lost."""
    verdict = drilled(tmp_path, "--jobs", "60", "--conversations", "12", "--seed", "1")
    assert verdict["broken"] == {}
    assert verdict["accepted"] == 60
    assert verdict["answered"] > 30


async def test_who_cannot_send_leaves_nothing_behind() -> None:
    """The error is told, and no other conversation goes on, nor does a message of which an answer was waited for."""
    witness = Witness.__new__(Witness)
    witness._connections, witness._provider = [(), ()], None
    going_on = asyncio.Event()

    async def talk(number: int) -> None:
        if number:
            raise UnavailableError("the HTTP API cannot be reached")
        try:
            await asyncio.Event().wait()
        finally:
            going_on.set()

    witness._talk = talk  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        await witness.talk()
    assert going_on.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}
