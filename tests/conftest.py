"""What the tests share: one running stack, and clouds of a test's own on its engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import Cloud, RunningStack, make_cloud, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One stack for all tests that leave it as they found it."""
    running = start_stack(tmp_path_factory.mktemp("stack"), CLOUDIA_LLM_MODEL="sim-1")
    yield running
    stop_stack(running)


@pytest.fixture
def cloud(stack: RunningStack) -> Cloud:
    """A cloud without a worker: whatever is in it was put there by the test."""
    return make_cloud(stack)
