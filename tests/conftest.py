"""What the tests share: one running stack, and clouds of a test's own on its engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support import Cloud, RunningStack, make_cloud, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator


# Enough to find what a change breaks; a test that needs more says so itself.
settings.register_profile("suite", max_examples=30, deadline=None)
settings.load_profile("suite")

# The files that take longest, so that none of them begins when the others are done.
_FIRST = (
    "tests/package/test_wheel.py",
    "tests/package/test_bare.py",
    "tests/worker/test_worker_lifetimes.py",
    "tests/cli/test_cli_up.py",
    "tests/cli/test_dlq.py",
    "tests/sim/test_supervisor.py",
    "tests/web/test_page_sessions.py",
    "tests/cli/test_chaos.py",
    "tests/tui/test_chat.py",
    "tests/package/test_pytest_plugin.py",
    "tests/worker/test_kill_points.py",
    "tests/sim/test_drill.py",
    "tests/worker/test_responders.py",
    "tests/sim/test_other_services.py",
    "tests/examples/test_ci.py",
    "tests/worker/test_llm.py",
    "tests/web/",
    "tests/sim/test_lambdas.py",
    "tests/sim/test_localstack.py",
    "tests/contract/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""

    def place(item: pytest.Item) -> int:
        return next((index for index, name in enumerate(_FIRST) if item.nodeid.startswith(name)), len(_FIRST))

    items.sort(key=place)


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
