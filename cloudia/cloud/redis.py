"""The connection to Redis, the names of its keys, and what its failures mean.

All keys of a session share the hash tag `{session}`, so that a script may touch them together in a Redis cluster; that of its
user, which there is only with a limit, does not.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

from cloudia.deadlines import deadline
from cloudia.errors import RefusedError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Keys", "Redis", "connect", "redis_errors"]

_ANSWER_SECONDS = 2.0
_MOST_CONNECTIONS = 32
"""A gateway that heals thousands of sessions at once takes turns at these."""


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

    def user(self, user_id: str) -> str:
        """Return the key of a user's sessions, a sorted set by when each is forgotten."""
        return f"{self._prefix}:user:{user_id}"

    def node(self, node_id: str) -> str:
        """Return the channel of a gateway node."""
        return f"{self._prefix}:node:{node_id}"

    @property
    def stops(self) -> str:
        """The channel of the jobs that somebody wants stopped."""
        return f"{self._prefix}:stops"

    def context(self, conversation_id: str) -> str:
        """Return the key of a conversation's cached context, a string."""
        return f"{self._prefix}:context:{conversation_id}"


class Redis(Client):
    """A client, and how long each call of it may take."""

    answer_seconds = _ANSWER_SECONDS


def connect(url: str, *, timeout: float = _ANSWER_SECONDS) -> Redis:
    """Return a client for `url`. Connecting happens at first use and anew after a failure; nothing is retried silently.

    `timeout` bounds each call within `redis_errors`, in seconds. Who finds all connections in use waits for one.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MOST_CONNECTIONS,
            decode_responses=True,
            # With RESP3, redis-py 8.1.0 hands out connections that the server has closed: redis/redis-py#4252.
            protocol=2,
            # Its own deadlines take a lag of this process for one of Redis.
            timeout=None,
            socket_connect_timeout=None,
            socket_timeout=None,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        # What redis-py says of it quotes a part of it, which may be one of the password.
        raise UsageError("redis.url is not a URL of Redis", hint="Such as redis://127.0.0.1:6379/0.") from error
    client = cast("Redis", Redis.from_pool(pool))
    client.answer_seconds = timeout
    return client


@asynccontextmanager
async def redis_errors(redis: Redis, *, wait_seconds: float = 0.0) -> AsyncIterator[None]:
    """Bound a call, and raise every failure as `UnavailableError`, and as `RefusedError` what somebody has to mend.

    `wait_seconds` is how long it may take beside the client's own time, for a wait. A lag of this process is not counted.

    A task that is cancelled meanwhile ends here. `asyncio.wait_for`, with which redis-py may send, loses the cancellation on
    Python 3.11 where sending was done at that moment: python/cpython#86296.
    """
    task = asyncio.current_task()
    cancelled = task.cancelling() if task else 0
    try:
        async with deadline(redis.answer_seconds + wait_seconds):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise _told(error) from error
    finally:
        if task and task.cancelling() > cancelled:
            raise asyncio.CancelledError


def _told(error: Exception) -> UnavailableError:
    """Return what a failure of Redis means. Its own text is looked at and never told: it may quote a command."""
    match error:
        case AuthenticationError() | AuthorizationError():
            message, hint = "Redis refuses the password", "Look at the user and the password in redis.url."
        case NoPermissionError():
            message, hint = (
                "Redis does not allow this user a command",
                "Its ACL is to allow scripts, streams and channels.",
            )
        case AskError() | ClusterDownError():  # `MovedError` is one of the former.
            message, hint = "redis.url is a node of a cluster", "Name a Redis that holds all keys: cluster mode off."
        case RedisError() if isinstance(error, ReadOnlyError) or "-READONLY " in str(error):  # the latter in a script
            message, hint = "this Redis is read-only", "Name the primary in redis.url, not a replica of it."
        case RedisError() if isinstance(error, OutOfMemoryError) or "-OOM " in str(error):
            message, hint = "Redis is full", "Give it more memory (maxmemory), or a policy that evicts."
        case _:
            return UnavailableError("Redis cannot be reached", hint="Is Redis running?", code="redis_unavailable")
    return RefusedError(message, hint=hint, code="redis_refused")
