"""The event log of the shared stack, for tests that play the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gateway.nodes import log_of
from tests.support import RunningStack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudia.cloud.events import EventLog


@pytest.fixture
async def log(stack: RunningStack) -> AsyncIterator[EventLog]:
    """The event log of the shared stack."""
    async with log_of(stack.settings) as log:
        yield log
