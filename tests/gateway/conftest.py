"""Two gateways of one cloud, shared by the tests that leave them as they found them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.gateway.nodes import Node, log_of, running
from tests.support import Cloud, RunningStack, make_cloud

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudia.cloud.events import EventLog


@pytest.fixture(scope="session")
def shared_cloud(stack: RunningStack) -> Cloud:
    """A cloud without a worker."""
    return make_cloud(stack)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nodes(shared_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Node, Node]]:
    """Two gateways."""
    folder = tmp_path_factory.mktemp("gateways")
    async with running(shared_cloud, folder / "a.log") as first, running(shared_cloud, folder / "b.log") as second:
        yield first, second


@pytest.fixture
def node(nodes: tuple[Node, Node]) -> Node:
    """One gateway."""
    return nodes[0]


@pytest.fixture
async def log(shared_cloud: Cloud) -> AsyncIterator[EventLog]:
    """The event log of the shared cloud."""
    async with log_of(shared_cloud.settings) as log:
        yield log


@pytest.fixture
def token(shared_cloud: Cloud) -> str:
    """A token of alice."""
    return shared_cloud.token()
