"""Stops on a real Redis: who hears of them, and how long a publisher waits for a Redis that does not answer."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cloud.redis import Redis, connect
from cloudia.cloud.stops import Stops, publish_stop
from cloudia.errors import UnavailableError, UsageError
from tests.cloud.listening import listening
from tests.gateway.lines import line
from tests.patience import HANGS
from tests.support import RunningStack, eventually

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


@pytest.fixture
def name() -> str:
    """A stack name that no other test uses."""
    return f"stops{secrets.token_hex(4)}"


def _listening(url: str, name: str) -> AbstractAsyncContextManager[list[str]]:
    """Collect what a worker hears."""
    return listening(url, lambda client, subscribed: Stops(client, name).published(subscribed=subscribed))


async def test_every_worker_of_a_stack_hears_a_stop(redis: Redis, name: str, stack: RunningStack) -> None:
    """Whoever has the job; those of another stack hear nothing. Where nobody listens, that is no error."""
    url = stack.settings.redis_url
    await Stops(redis, name).publish("job_before")
    async with _listening(url, name) as first, _listening(url, name) as second, _listening(url, f"{name}x") as other:
        await Stops(redis, name).publish("job_a")
        await asyncio.to_thread(publish_stop, url, name, "job_b")
        await Stops(redis, f"{name}x").publish("job_c")
        await eventually(lambda: len(first) == len(second) == 2 and other)
    assert (first, second, other) == (["job_a", "job_b"], ["job_a", "job_b"], ["job_c"])


async def test_a_subscription_ends_with_an_error_where_redis_goes(name: str, stack: RunningStack) -> None:
    """Who listens learns that it no longer does."""
    async with line(stack.settings.redis_url) as watched, connect(watched.url) as client:
        subscribed = asyncio.Event()
        waiting = asyncio.ensure_future(anext(Stops(client, name).published(subscribed=subscribed)))
        await asyncio.wait_for(subscribed.wait(), HANGS)
        await watched.cut()
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(waiting, HANGS)
        assert not subscribed.is_set()


@pytest.mark.parametrize("state", ["refusing", "silent"])
async def test_a_publisher_does_not_wait_for_a_redis_that_is_away(name: str, stack: RunningStack, state: str) -> None:
    """I7: a Redis that refuses, and one whose network swallows all, is told within the time that is given."""
    async with line(stack.settings.redis_url) as watched:
        setattr(watched, state, True)
        with pytest.raises(UnavailableError) as caught:
            await asyncio.wait_for(asyncio.to_thread(publish_stop, watched.url, name, "job_a", seconds=0.05), HANGS)
    assert caught.value.code == "redis_unavailable"


def test_a_publisher_does_not_wait_for_a_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """I7: looking up a host has no deadline of its own; the publisher has."""
    looked_up = threading.Event()

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        looked_up.wait(HANGS)
        raise socket.gaierror

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    with pytest.raises(UnavailableError):
        publish_stop("redis://redis.example:6379/0", name, "job_a", seconds=0.05)
    assert not looked_up.is_set()
    looked_up.set()
    for thread in threading.enumerate():
        if thread.name == "stop":
            thread.join(HANGS)


def test_a_publisher_says_what_is_no_url(name: str) -> None:
    """What cannot be a Redis is the setting's mistake."""
    with pytest.raises(UsageError, match=r"redis\.url"):
        publish_stop("http://x", name, "job_a")
