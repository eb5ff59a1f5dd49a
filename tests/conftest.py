"""What the tests share: one running stack, and clouds of a test's own on its engine."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from tests.support import Cloud, RunningStack, make_cloud, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator


# Enough to find what a change breaks; a test that needs more says so itself.
settings.register_profile("suite", max_examples=30, deadline=None)
settings.load_profile("suite")

# The files that take longest, so that none of them begins when the others are done.
_FIRST = (
    "tests/security/test_targets.py",
    "tests/security/test_terminal.py",
    "tests/web/",
    "tests/package/",
    "tests/worker/test_worker_lifetimes.py",
    "tests/cli/test_dlq.py",
    "tests/local/test_supervisor.py",
    "tests/cli/test_cli_up.py",
    "tests/tui/test_chat.py",
    "tests/cli/test_chaos.py",
    "tests/cli/test_cli_restart.py",
    "tests/cli/test_cli_send.py",
    "tests/worker/test_worker.py",
    "tests/cli/test_contract.py",
    "tests/worker/test_kill_points.py",
    "tests/worker/test_responders.py",
    "tests/worker/test_llm.py",
    "tests/cli/test_cli_send_many.py",
    "tests/deploy/test_lambdas.py",
    "tests/sim/test_other_services.py",
    "tests/client/test_client_ask.py",
    "tests/cli/test_cli_chosen.py",
    "tests/drill/test_drill.py",
    "tests/sim/engines/test_localstack.py",
    "tests/operate/test_dead_letters.py",
    "tests/worker/",
    "tests/examples/",
    "tests/contract/",
    "tests/cli/",
    "tests/functions/test_bad_input.py",
    "tests/gateway/",
)


# What attacks, deploys or breaks a stack on purpose is with the long tests as a whole, and what takes longest.
_LONG = (
    "tests/package/test_pytest_plugin.py",
    "tests/cli/test_shells.py",
    "tests/cli/test_streams.py",
    "tests/cli/test_cli_attached.py",
    "tests/cli/test_cli_send_many.py",
    "tests/deploy/test_provision.py",
    "tests/examples/test_clients.py",
    "tests/tui/test_following.py",
    "tests/web/test_dashboard.py",
    "tests/web/test_page_conversations.py",
    "tests/web/test_page_lines.py",
    "tests/web/test_page_reading.py",
    "tests/web/test_page_typing.py",
    "tests/worker/test_load.py",
    "tests/worker/test_worker_lifetimes.py",
    "tests/security/",
    "tests/drill/",
    "tests/deploy/test_grants.py",
    "tests/deploy/test_terraform.py",
    "tests/deploy/test_zips.py",
    "tests/gateway/test_gateway_floods.py",
    "tests/sim/test_own_environment.py",
    "tests/local/test_ends.py",
    "tests/cli/test_chaos.py",
    "tests/cli/test_cli_chosen.py",
    "tests/cli/test_cli_provision.py",
    "tests/cli/test_dlq.py",
    "tests/cli/test_collected.py",
    "tests/web/test_page_sessions.py",
    "tests/deploy/test_helm.py",
    "tests/deploy/test_image.py",
    "tests/cli/test_cli_restart.py",
    "tests/cli/test_cli_up.py",
    "tests/cli/test_llm.py",
    "tests/local/test_supervisor.py",
    "tests/tui/test_chat_restart.py",
    "tests/web/test_page_access.py",
    "tests/worker/test_budget_storm.py",
    "tests/web/test_page_never_lost.py",
    "tests/worker/test_worker_refused.py",
)


# Their files share what takes long to make: environments, a browser.
_TOGETHER = ("tests/package/", "tests/web/")


class _Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types.
    """A file's tests run in one process; so do those of files that belong together."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((folder for folder in _TOGETHER if file.startswith(folder)), file)


@pytest.hookimpl(optionalhook=True)  # Also without xdist, one after the other.
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """Say which tests share a process."""
    return _Scheduling(config, log)


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's way: it is most of what there is, and stays."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)  # Before `-m` chooses.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is long, and put the files that take longest first."""
    for item in items:
        if item.nodeid.startswith(_LONG):
            item.add_marker(pytest.mark.long)

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
