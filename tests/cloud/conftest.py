"""What the tests of the cloud services share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudia.cloud.redis import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudia.cloud.redis import Redis
    from tests.support import RunningStack


@pytest.fixture
async def redis(stack: RunningStack) -> AsyncIterator[Redis]:
    """The Redis of the shared stack."""
    client = connect(stack.settings.redis_url)
    yield client
    await client.aclose()
