"""Shares: whose job is begun next. No service runs; the clock is the test's."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from cloudia.worker.shares import Shares

PLACES = 32
SECONDS = 4.0
"""How long a job takes."""


async def work(shares: Shares, user: str, began: list[tuple[str, float]], seconds: float = SECONDS) -> None:
    """Do a job of a user, noting when it began."""
    async with shares.place(user):
        began.append((user, asyncio.get_running_loop().time()))
        await asyncio.sleep(seconds)


async def test_one_users_two_hundred_jobs_do_not_hold_another_up() -> None:
    """Who comes second has the next place that is free, and not the one after all of the other's."""
    shares, began = Shares(PLACES), list[tuple[str, float]]()
    chance = random.Random(1)
    start = asyncio.get_running_loop().time()
    many = [asyncio.create_task(work(shares, "many", began, SECONDS * chance.uniform(0.5, 1.5))) for _ in range(200)]
    await asyncio.sleep(1)
    assert shares.uneven
    await asyncio.create_task(work(shares, "one", began))
    assert dict(began)["one"] - start < SECONDS
    await asyncio.gather(*many)
    assert max(at for _, at in began) - start > 5 * SECONDS


async def test_users_who_all_have_more_than_fits_get_the_same() -> None:
    """With three that have a hundred each, each has a third of the places from the first change on."""
    shares, began = Shares(30), list[tuple[str, float]]()
    tasks = [asyncio.create_task(work(shares, user, began)) for user in ("a", "b", "c") for _ in range(100)]
    await asyncio.sleep(SECONDS * 1.5)
    assert Counter(user for user, _ in began[30:60]) == {"a": 10, "b": 10, "c": 10}
    await asyncio.sleep(SECONDS * 2)
    assert not shares.uneven
    for turn in (60, 90):
        shared = Counter(user for user, _ in began[turn : turn + 30])
        assert max(shared.values()) - min(shared.values()) <= 2
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize(("places", "most"), [(256, 224), (PLACES, 28), (8, 7), (7, 7), (1, 1)])
async def test_one_in_eight_places_is_kept_for_who_comes_next(places: int, most: int) -> None:
    """One user has the others; whoever else comes begins at once, where there are eight places or more."""
    shares, began = Shares(places), list[tuple[str, float]]()
    tasks = [asyncio.create_task(work(shares, "alone", began)) for _ in range(places * 2)]
    await asyncio.sleep(1)
    assert len(began) == shares.in_work == most
    if most < places:
        tasks.append(asyncio.create_task(work(shares, "next", began)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert began[-1][0] == "next"
    await asyncio.gather(*tasks)
    assert shares.in_work == 0
    assert len(began) == len(tasks)


async def test_who_gives_up_waiting_leaves_no_place_taken() -> None:
    """A cancellation, also of one who was just let in, frees what it had."""
    shares, began = Shares(1), list[tuple[str, float]]()
    first = asyncio.create_task(work(shares, "a", began))
    await asyncio.sleep(1)
    waiting = [asyncio.create_task(work(shares, "b", began)) for _ in range(3)]
    await asyncio.sleep(1)
    waiting[0].cancel()
    first.cancel()
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.gather(first, *waiting, return_exceptions=True)
    assert [user for user, _ in began] == ["a", "b"]
    assert shares.in_work == 0


async def test_once_it_is_open_nobody_waits() -> None:
    """A worker that stops lets each lane see it."""
    shares, began = Shares(1), list[tuple[str, float]]()
    tasks = [asyncio.create_task(work(shares, user, began)) for user in "abc"]
    await asyncio.sleep(1)
    assert len(began) == 1
    shares.open()
    await asyncio.sleep(0.1)
    assert len(began) == 3
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_comes_and_goes_places_are_kept_to(seed: int) -> None:
    """Never more in work than places, nobody is forgotten, and in the end all is free."""
    shares, began = Shares(4), list[tuple[str, float]]()
    chance, tasks = random.Random(seed), []
    for _ in range(200):
        tasks.append(asyncio.create_task(work(shares, chance.choice("abcd"), began, chance.uniform(0.1, 2))))
        await asyncio.sleep(chance.uniform(0, 0.2))
        assert shares.in_work <= 4
        if chance.random() < 0.2:
            chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() or task.done() for task in tasks)
    assert shares.in_work == 0
