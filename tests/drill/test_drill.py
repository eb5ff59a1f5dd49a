"""The drill: its storm comes again, its verdict can fail, and a short one is green."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.drill.storm import StormSize, make_storm
from cloudia.drill.verdict import Sent, judge
from cloudia.protocol import Event
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


def test_i1_i2_i3_i4_hold_in_a_short_storm(tmp_path: Path) -> None:
    """I1 to I4: workers, gateways and Redis killed, 30 % of the LLM's calls failing, clients cut; nothing is lost."""
    done = cli("drill", "--jobs", "60", "--conversations", "12", "--seed", "1", "--json", folder=tmp_path, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["broken"] == {}
    assert verdict["accepted"] == 60
    assert verdict["answered"] > 30
