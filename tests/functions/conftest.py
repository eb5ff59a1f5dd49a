"""What the tests of the HTTP API share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.functions.apis import QuietCloud, Users, edge_of, new_user
from tests.support import RunningStack, make_cloud

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def users(stack: RunningStack) -> Iterator[Users]:
    """The HTTP API of the shared stack, which has a worker."""
    with Users(stack.run["api_url"], stack.token) as found:
        yield found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def quiet(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[QuietCloud]:
    """An HTTP API whose jobs nobody takes; all tests of this folder share it."""
    cloud = make_cloud(stack)
    async with edge_of(cloud, tmp_path_factory.mktemp("quiet") / "edge.log") as (url, process):
        with Users(url, cloud.token) as found:
            yield QuietCloud(cloud, found, process)


@pytest.fixture
def user() -> str:
    """A user that nobody was before."""
    return new_user()


@pytest.fixture(scope="module", autouse=True)
def nobody_falls(stack: RunningStack, quiet: QuietCloud) -> Iterator[None]:
    """Whatever a file of tests sends, every process outlives it."""

    def lives() -> dict[str, tuple[int | None, int]]:
        run = stack.project.require_run()
        assert run.state == "ready"
        return {name: (part.pid, part.restarts) for name, part in run.parts.items()}

    before = lives()
    yield
    assert quiet.edge.returncode is None
    assert lives() == before
