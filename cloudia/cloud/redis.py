"""The connection to Redis, the names of its keys, and what its failures mean.

All keys of a session share the hash tag `{session}`, so that a script may touch them together in a Redis cluster.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from cloudia.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Keys", "Redis", "connect", "redis_errors"]


class Keys:
    """The keys and channels of one stack."""

    def __init__(self, stack_name: str) -> None:
        self._prefix = stack_name

    def log(self, session_id: str) -> str:
        """Return the key of a session's events, a stream."""
        return f"{self._prefix}:{{{session_id}}}:log"

    def job(self, session_id: str, job_id: str) -> str:
        """Return the key of what the log knows of a job, a hash of `fence` and `ended`."""
        return f"{self._prefix}:{{{session_id}}}:{job_id}"

    def connection(self, session_id: str) -> str:
        """Return the key of a session's connection, a hash of `node` and `connection`."""
        return f"{self._prefix}:{{{session_id}}}:connection"

    def node(self, node_id: str) -> str:
        """Return the channel of a gateway node."""
        return f"{self._prefix}:node:{node_id}"

    def context(self, conversation_id: str) -> str:
        """Return the key of a conversation's cached context, a string."""
        return f"{self._prefix}:context:{conversation_id}"


def connect(url: str, *, timeout: float | None = 2.0) -> Redis:
    """Return a client for `url`. Connecting happens at first use and anew after a failure; nothing is retried silently.

    `timeout` bounds each reply; None is for a subscriber, which waits for as long as nothing is published.
    """
    try:
        return Redis.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=2.0,
            socket_timeout=timeout,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise UsageError(
            f"redis.url is not a URL of Redis: {error}", hint="Such as redis://127.0.0.1:6379/0."
        ) from error


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise every failure of Redis inside as `UnavailableError`."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise UnavailableError("Redis cannot be reached", hint="Is Redis running?", code="redis_unavailable") from error
