"""The event log on a real Redis: order, fences, the cap, and what is published."""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import replace

import pytest

from cloudia.cloud.events import START, Entry, EventLog, Frame
from cloudia.cloud.redis import Keys, Redis, connect
from cloudia.cloud.sessions import Registration, Sessions
from cloudia.errors import UnavailableError
from cloudia.protocol import Event, event_order
from cloudia.sim.ports import LOOPBACK, choose_port
from tests.gateway.lines import line
from tests.patience import HANGS
from tests.support import RunningStack

_SESSION = "ses_a.b"
_JOB = "job_01k0000000000000000000000a"
_TTL = 600
_CAP = 100


@pytest.fixture
def keys() -> Keys:
    """Names that no other test uses."""
    return Keys(f"log{secrets.token_hex(4)}")


@pytest.fixture
def log(redis: Redis, keys: Keys) -> EventLog:
    """An event log of the test's own."""
    return EventLog(redis, keys.node("").split(":")[0], ttl_seconds=_TTL, max_length=_CAP)


def _frame(kind: str = "delta", *, fence: int = 1, job: str = _JOB, session: str = _SESSION, text: str = "") -> Frame:
    return Frame(session, fence, Event(kind, job, attempt=1, data={"text": text} if kind == "delta" else {}))


async def test_events_come_back_in_the_order_they_were_appended(log: EventLog) -> None:
    """Ids grow, payloads are what was encoded, and a page continues where the one before ended."""
    frames = [_frame(text=f"{number} äöü 🦊") for number in range(25)]
    ids = [appended.id for appended in await log.append(frames)]
    ids += [appended.id for appended in await log.append([_frame("done")])]
    assert all(ids)
    assert sorted(ids, key=lambda event_id: event_order(event_id or "")) == ids

    entries = await log.after(_SESSION, START)
    assert [entry.id for entry in entries] == ids
    assert [entry.payload for entry in entries] == [
        *(frame.event.encode() for frame in frames),
        _frame("done").event.encode(),
    ]
    first = await log.after(_SESSION, START, count=10)
    assert await log.after(_SESSION, first[-1].id, count=100) == entries[10:]
    assert await log.after(_SESSION, entries[-1].id) == []


async def test_sessions_and_stacks_are_apart(log: EventLog, redis: Redis) -> None:
    """An event stands in the log of its own session, in its own stack, and nowhere else."""
    await log.append([_frame(session="ses_one", text="1"), _frame(session="ses_two", text="2")])
    assert [entry.payload for entry in await log.after("ses_one", START)] == [_frame(text="1").event.encode()]
    assert [entry.payload for entry in await log.after("ses_two", START)] == [_frame(text="2").event.encode()]
    other = EventLog(redis, f"log{secrets.token_hex(4)}", ttl_seconds=_TTL, max_length=_CAP)
    assert await other.after("ses_one", START) == []


async def test_what_goes_on_from_what_is_gone_is_lost(log: EventLog, redis: Redis, keys: Keys) -> None:
    """I4: nothing is written behind a beginning that the log has forgotten, nor behind that of another attempt."""
    more, end = replace(_frame(text="more"), goes_on=True), replace(_frame("done"), goes_on=True)
    assert all(appended.id for appended in await log.append([_frame("started"), more]))
    await redis.delete(keys.log(_SESSION), keys.job(_SESSION, _JOB))
    assert [appended.refused for appended in await log.append([more, end])] == ["lost", "lost"]
    assert await log.after(_SESSION, START) == []
    assert all(appended.id for appended in await log.append([_frame("reset"), more]))
    assert (await log.append([replace(more, fence=2)]))[0].refused == "lost"
    assert (await log.append([end]))[0].id


async def test_an_older_fence_is_stale(log: EventLog) -> None:
    """Once a newer attempt wrote, the one before writes nothing more; the newer goes on."""
    assert (await log.append([_frame(fence=1, text="old")]))[0].refused is None
    assert (await log.append([_frame("reset", fence=2)]))[0].refused is None
    assert [appended.refused for appended in await log.append([_frame(fence=1), _frame("done", fence=1)])] == [
        "stale"
    ] * 2
    assert (await log.append([_frame(fence=2, text="new")]))[0].refused is None
    assert len(await log.after(_SESSION, START)) == 3


async def test_fences_are_compared_as_numbers(log: EventLog) -> None:
    """Fence 10 is newer than 9."""
    await log.append([_frame(fence=9)])
    assert (await log.append([_frame(fence=10)]))[0].refused is None
    assert (await log.append([_frame(fence=9)]))[0].refused == "stale"


async def test_a_fence_is_of_one_job(log: EventLog) -> None:
    """Another job of the session starts from its own fence."""
    await log.append([_frame(fence=7)])
    other = "job_01k0000000000000000000000b"
    assert (await log.append([_frame(fence=1, job=other)]))[0].refused is None


@pytest.mark.parametrize("kind", ["done", "error", "cancelled"])
async def test_i4_a_job_ends_once_per_fence(log: EventLog, kind: str) -> None:
    """After the last event nothing of that fence is logged: not the same again, not another end, not more text."""
    again = [_frame(kind), _frame(kind), _frame("done"), _frame(text="late")]
    assert [appended.refused for appended in await log.append(again)] == [None, "ended", "ended", "ended"]
    assert len(await log.after(_SESSION, START)) == 1


async def test_a_job_that_is_redriven_ends_again(log: EventLog) -> None:
    """A dead letter that was sent back has a higher fence: its events are new ones, and it ends once more."""
    await log.append([_frame("error", fence=5)])
    redriven = [_frame("reset", fence=6), _frame("done", fence=6), _frame("done", fence=6), _frame("error", fence=5)]
    assert [appended.refused for appended in await log.append(redriven)] == [None, None, "ended", "stale"]


async def test_the_log_is_capped(log: EventLog, redis: Redis, keys: Keys) -> None:
    """The oldest events go, the newest stay; Redis trims whole nodes of a hundred entries, so somewhat more may stay."""
    ids = [appended.id for appended in await log.append([_frame(text=str(number)) for number in range(700)])]
    assert _CAP <= await redis.xlen(keys.log(_SESSION)) <= _CAP + 100
    kept = await log.after(_SESSION, START)
    assert [entry.id for entry in kept] == ids[-len(kept) :]
    assert ids[0] is not None
    assert ids[-1] is not None
    assert not await log.holds(_SESSION, ids[0])
    assert await log.holds(_SESSION, ids[-1])
    assert not await log.holds("ses_other", ids[-1])


async def test_everything_expires(log: EventLog, redis: Redis, keys: Keys) -> None:
    """Neither the log nor what is known of a job stays for ever, and each append prolongs both."""
    for key in (keys.log(_SESSION), keys.job(_SESSION, _JOB)):
        await log.append([_frame()])
        assert _TTL - 5 <= await redis.ttl(key) <= _TTL
        await redis.expire(key, 5)
        await log.append([_frame()])
        assert _TTL - 5 <= await redis.ttl(key) <= _TTL


async def test_a_publication_names_the_entry_before(log: EventLog, redis: Redis, keys: Keys) -> None:
    """Whoever holds the connection hears of each event with the id of the one before, the first's being `0-0`."""
    await redis.hset(keys.connection(_SESSION), mapping={"node": "gtw_1", "connection": "con_1"})
    async with redis.pubsub() as heard:
        await heard.subscribe(keys.node("gtw_1"))
        assert (await heard.get_message(timeout=HANGS))["type"] == "subscribe"
        one, two, refused = await log.append([_frame(text="a b"), _frame("done"), _frame("done")])
        assert refused.refused == "ended"
        for previous, appended, frame in ((START, one, _frame(text="a b")), (one.id, two, _frame("done"))):
            message = await heard.get_message(timeout=HANGS)
            assert message["data"] == f"event {_SESSION} {previous} {appended.id} {frame.event.encode()}"
        assert await heard.get_message(timeout=0.05) is None


async def test_without_a_connection_nothing_is_published(log: EventLog, redis: Redis, keys: Keys) -> None:
    """Nobody is told of an event that nobody waits for; the log has it all the same."""
    async with redis.pubsub() as heard:
        await heard.psubscribe(f"{keys.node('')}*")
        assert (await heard.get_message(timeout=HANGS))["type"] == "psubscribe"
        await log.append([_frame()])
        assert await heard.get_message(timeout=0.05) is None
    assert len(await log.after(_SESSION, START)) == 1


async def test_many_frames_cost_one_round_trip(stack: RunningStack, keys: Keys) -> None:
    """However many frames of however many sessions: Redis is spoken to once and answers once."""
    async with line(stack.settings.redis_url) as watched:
        client = connect(watched.url)
        log = EventLog(client, keys.node("").split(":")[0], ttl_seconds=_TTL, max_length=_CAP)
        await log.append([_frame()])
        before = watched.turns
        appended = await log.append([_frame(session=f"ses_{number % 7}", text="x") for number in range(40)])
        assert all(one.id for one in appended)
        assert watched.turns - before == 1
        await client.aclose()


async def test_a_redis_that_forgot_the_script_learns_it_again(log: EventLog, redis: Redis) -> None:
    """After a restart Redis knows no script: the append that finds out succeeds, in order."""
    await redis.script_flush()
    ids = [appended.id for appended in await log.append([_frame(text=str(number)) for number in range(5)])]
    assert [entry.id for entry in await log.after(_SESSION, START)] == ids


async def test_nothing_to_append_asks_nobody() -> None:
    """No frames, no round trip, not even a connection."""
    client = connect(f"redis://{LOOPBACK}:{choose_port()}/0")
    assert await EventLog(client, "x", ttl_seconds=1, max_length=10).append([]) == []
    await client.aclose()


async def test_redis_away_is_said_in_one_way() -> None:
    """Every method raises `UnavailableError` with the code `redis_unavailable`, at once."""
    client = connect(f"redis://{LOOPBACK}:{choose_port()}/0")
    log, sessions = EventLog(client, "x", ttl_seconds=1, max_length=10), Sessions(client, "x")
    held = Registration(_SESSION, "c", "alice")
    for attempt in (
        log.append([_frame()]),
        log.after(_SESSION, START),
        log.holds(_SESSION, "1-1"),
        sessions.register(held, node_id="n"),
        sessions.claim([held], node_id="n"),
        sessions.unregister(held),
    ):
        with pytest.raises(UnavailableError) as away:
            await attempt
        assert away.value.code == "redis_unavailable"
    await client.aclose()


async def test_a_silent_redis_is_away(stack: RunningStack) -> None:
    """A reply that does not come is waited for two seconds, not for ever, and the next call is served again."""
    async with line(stack.settings.redis_url) as watched:
        client = connect(watched.url, timeout=0.2)
        log = EventLog(client, f"log{secrets.token_hex(4)}", ttl_seconds=_TTL, max_length=_CAP)
        assert await log.after(_SESSION, START) == []
        watched.silent = True
        with pytest.raises(UnavailableError):
            await log.after(_SESSION, START)
        watched.silent = False
        assert await log.after(_SESSION, START) == []
        await client.aclose()


async def test_a_call_that_is_cancelled_ends(stack: RunningStack) -> None:
    """At whatever moment: a task that went on would never end, for nobody cancels twice."""
    chance = random.Random(1)
    for _ in range(20):
        client = connect(stack.settings.redis_url)
        log = EventLog(client, f"log{secrets.token_hex(4)}", ttl_seconds=_TTL, max_length=_CAP)
        tasks = [asyncio.create_task(log.append([_frame()])) for _ in range(10)]
        for task in tasks:
            await asyncio.sleep(chance.random() / 1000)
            done = task.done()
            task.cancel()
            await asyncio.wait({task})
            assert done or task.cancelled()
        await client.aclose()


async def test_a_broken_line_is_laid_anew(stack: RunningStack) -> None:
    """A connection that broke while it was idle costs no error: the next call connects again."""
    async with line(stack.settings.redis_url) as watched:
        client = connect(watched.url)
        log = EventLog(client, f"log{secrets.token_hex(4)}", ttl_seconds=_TTL, max_length=_CAP)
        appended = (await log.append([_frame()]))[0]
        await watched.cut()
        assert await log.after(_SESSION, START) == [Entry(appended.id or "", _frame().event.encode())]
        await client.aclose()
