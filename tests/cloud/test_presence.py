"""Presence: who said a sign of life within 20 s, and who left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cloudia.cloud import presence
from cloudia.cloud.items import from_item
from cloudia.cloud.presence import BEAT_SECONDS, Presence
from tests.cloud.clocks import Clock
from tests.support import Cloud


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(4_000_000_000.5)
    monkeypatch.setattr(presence, "time", clock)
    return clock


@pytest.fixture
def here(cloud: Cloud) -> Presence:
    return Presence(cloud.aws.dynamodb, cloud.stack)


def test_who_beats_is_alive(here: Presence, clock: Clock) -> None:
    """A sign of life is seen with its facts, and the last one counts."""
    assert here.alive("worker") == []
    here.beat("worker", "wrk_1", jobs=3, host="one", load=0.5)
    clock.now += BEAT_SECONDS
    here.beat("worker", "wrk_1", jobs=4, host="one", load=None)
    assert here.alive("worker") == [{"id": "wrk_1", "seen_at": clock.now, "jobs": 4, "host": "one"}]


def test_parts_are_told_apart(here: Presence, clock: Clock) -> None:
    """A worker and a gateway may have the same id and are not mixed up."""
    here.beat("worker", "x", jobs=1)
    here.beat("gateway", "x", connections=2)
    here.beat("gateway", "y", connections=3)
    assert [part["jobs"] for part in here.alive("worker")] == [1]
    assert {part["id"]: part["connections"] for part in here.alive("gateway")} == {"x": 2, "y": 3}


def test_who_falls_silent_is_gone_after_twenty_seconds(here: Presence, clock: Clock) -> None:
    """I7: three beats may be missed; a part that was killed is forgotten, whatever DynamoDB's TTL has done by then."""
    here.beat("worker", "wrk_1")
    clock.now += 19.9
    assert [part["id"] for part in here.alive("worker")] == ["wrk_1"]
    clock.now += 0.2
    assert here.alive("worker") == []
    assert BEAT_SECONDS * 3 < 20


def test_who_leaves_is_gone_at_once(here: Presence, clock: Clock) -> None:
    """A clean stop is seen at once; leaving twice, or without having been there, is no error."""
    here.beat("worker", "wrk_1")
    here.beat("worker", "wrk_2")
    here.leave("worker", "wrk_1")
    here.leave("worker", "wrk_1")
    here.leave("gateway", "never")
    assert [part["id"] for part in here.alive("worker")] == ["wrk_2"]


def test_a_sign_of_life_expires(cloud: Cloud, here: Presence, clock: Clock) -> None:
    """DynamoDB may drop it after 20 s: the TTL attribute is a whole epoch second."""
    here.beat("worker", "wrk_1")
    (item,) = cloud.aws.dynamodb.scan(TableName=cloud.stack.presence.name)["Items"]
    assert from_item(item)["expires_at"] == int(clock.now) + 20
    assert cloud.stack.presence.ttl_attribute == "expires_at"


def test_a_duty_is_one_parts_at_a_time(here: Presence, clock: Clock) -> None:
    """Whoever comes first has it for its time, and then whoever comes first again; duties and parts are not mixed up."""
    assert here.take_duty("sweep", "wrk_1", 60)
    assert not here.take_duty("sweep", "wrk_2", 60)
    assert not here.take_duty("sweep", "wrk_1", 60)
    assert here.take_duty("wash", "wrk_2", 60)
    clock.now += 61
    assert here.take_duty("sweep", "wrk_2", 60)
    assert not here.take_duty("sweep", "wrk_1", 60)
    assert here.alive("worker") == []


def test_a_duty_goes_to_one_of_those_who_ask_at_once(here: Presence) -> None:
    """Eight at the same time: one has it."""
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda number: here.take_duty("sweep", f"wrk_{number}", 60), range(8)))
    assert taken.count(True) == 1
