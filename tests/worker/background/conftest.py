"""The background loops are tried with a clock of the test's."""

from __future__ import annotations

import asyncio

import pytest

from cloudia.worker.background.refusals import Refusals
from tests.clock import Clock


def pytest_asyncio_loop_factories() -> dict[str, type[Clock]]:
    """Run these tests in a loop whose time moves to what comes next."""
    return {"clock": Clock}


@pytest.fixture
async def clock() -> Clock:
    """The clock of the test."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Clock)
    return loop


@pytest.fixture
def refusals() -> Refusals:
    """What is refused for good."""
    return Refusals()
