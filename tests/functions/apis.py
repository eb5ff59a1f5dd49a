"""HTTP APIs to call: clients by user, and a cloud whose queue nobody takes from."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import httpx2

from cloudia.protocol import QueuedJob
from cloudia.sim.ports import LOOPBACK, choose_port
from tests.functions import contract
from tests.support import Cloud, child, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from tests.forks import Child

__all__ = ["QuietCloud", "Users", "edge_of", "new_user"]

_PAGE = {"CLOUDIA_PAGE_SECRET": "the-secret-of-a-page", "CLOUDIA_PAGE_CODE_FILE": "/nowhere/page-code"}
_numbers = itertools.count(1)
_Depth = Literal[
    "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"
]


def new_user() -> str:
    """Return a user that nobody was before."""
    return f"user-{next(_numbers)}"


class Users:
    """The clients of one HTTP API, one a user; their responses are held against the contract."""

    def __init__(self, url: str, token: Callable[[str], str]) -> None:
        self.url = url
        self._token = token
        self._clients: dict[str | None, httpx2.Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            client.close()

    def client(self, user: str | None) -> httpx2.Client:
        """Return the client of a user; of someone without a token where it is None."""
        if user not in self._clients:
            self._clients[user] = contract.client(self.url, self._token(user) if user else None)
        return self._clients[user]


@dataclass
class QuietCloud:
    """A cloud with an HTTP API and without a worker: what was enqueued stays enqueued."""

    cloud: Cloud
    users: Users
    edge: Child

    def client(self, user: str | None) -> httpx2.Client:
        """Return the client of a user."""
        return self.users.client(user)

    def depth(self) -> int:
        """Return how many messages the queue has, seen or not."""
        attributes = self.cloud.aws.sqs.get_queue_attributes(
            QueueUrl=self.cloud.queue.url, AttributeNames=list(get_args(_Depth))
        )["Attributes"]
        return sum(map(int, attributes.values()))

    def drain(self) -> list[QueuedJob]:
        """Take everything off the queue, in its order."""
        jobs: list[QueuedJob] = []
        while received := self.cloud.queue.receive(most=10, wait_seconds=0, visibility_seconds=60):
            jobs += [QueuedJob.decode(message.body) for message in received]
            assert not self.cloud.queue.delete([message.receipt for message in received])
        return jobs

    def session(self, user: str) -> str:
        """Return a session id of a user, as the gateway gives it."""
        return self.cloud.identity.new_session(user)


@asynccontextmanager
async def edge_of(
    cloud: Cloud, log: Path, *, environment: dict[str, str] | None = None, **changes: Any
) -> AsyncIterator[tuple[str, Child]]:
    """Run an edge of its own for a cloud, with `changes` of its settings. Yield its URL and its process once it answers."""
    port = choose_port()
    url = f"http://{LOOPBACK}:{port}"
    own = Cloud(replace(cloud.settings, api_port=port, api_url=url, **changes), cloud.secrets)
    variables = {**own.environment(), "CLOUDIA_TOKEN_SECRET": cloud.secrets["token"], **_PAGE, **(environment or {})}
    async with (
        child("cloudia.sim.edge", variables, log) as process,
        httpx2.AsyncClient(base_url=url, trust_env=False) as http,
    ):

        async def answers() -> bool:
            assert process.returncode is None, f"the edge ended; see {log}"
            try:
                return (await http.get("/openapi.json")).is_success
            except httpx2.TransportError:
                return False

        await eventually(answers)
        yield url, process
