"""The pytest plugin: three fixtures. Until one of them is used it imports nothing of cloudia and starts nothing.

    cloudia_stack    a stack of this project that runs for the whole session, apart from one that you run beside it
    cloudia_client   sends messages to it and waits for the answers, as a user that is each test's own
    cloudia_llm      says what the LLM answers next, makes it fail, and tells what it was asked

A failing test that used the stack shows what the parts logged meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from cloudia.testing.client import ChatClient
    from cloudia.testing.llm import ScriptedLLM
    from cloudia.testing.stack import RunningStack

__all__ = ["cloudia_client", "cloudia_llm", "cloudia_stack"]

_STACK = pytest.StashKey["RunningStack"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what can be set in the configuration of pytest."""
    parser.addini(
        "cloudia_project",
        "folder of cloudia.toml, relative to pytest's root; if left out, the nearest one around the working folder",
        default="",
    )
    parser.addini(
        "cloudia_settings",
        'settings of the tests\' stack alone, one a line as in TOML: worker.responder = "app:answer"',
        type="linelist",
        default=[],
    )


@pytest.fixture(scope="session")
def cloudia_stack(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Run a stack for the whole session, with the project's settings and responder, and the simulated LLM."""
    from cloudia.testing.stack import RunningStack  # noqa: PLC0415 - not before it is used
    from cloudia.testing.terminal import sayer  # noqa: PLC0415 - not before it is used

    folder = pytestconfig.getini("cloudia_project")
    stack = RunningStack(
        pytestconfig.rootpath / folder if folder else None,
        [pytestconfig.invocation_params.dir, pytestconfig.rootpath],
        home=tmp_path_factory.mktemp("cloudia"),
        settings=pytestconfig.getini("cloudia_settings"),
    )
    try:
        failure = stack.start(sayer(pytestconfig))
        if failure:
            pytest.fail(failure, pytrace=False)
        pytestconfig.stash[_STACK] = stack
        yield stack
        del pytestconfig.stash[_STACK]
        stack.end_jobs()
    finally:
        stack.stop()


@pytest.fixture
def cloudia_client(cloudia_stack: RunningStack) -> Iterator[ChatClient]:
    """Send messages as a user of the test's own: `reply = cloudia_client.ask("hello")`, with `await` in an async test."""
    from cloudia.testing.client import ChatClient  # noqa: PLC0415 - not before it is used

    with ChatClient(cloudia_stack) as client:
        yield client


@pytest.fixture
def cloudia_llm(cloudia_stack: RunningStack) -> Iterator[ScriptedLLM]:
    """Script the LLM: `.reply("…")`, `.fail(status=429, times=2)`; `.requests[-1].messages` is what it was asked last.

    After the test it is as it was before.
    """
    with cloudia_stack.llm() as llm:
        llm.reset()  # Tests without this fixture leave requests behind.
        yield llm
        llm.reset()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note where the logs stand when a test begins."""
    stack = item.config.stash.get(_STACK, None)
    if stack:
        stack.logs.mark()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """End what a test leaves behind, once its fixtures are gone; it fails where that cannot be ended."""
    try:
        return (yield)
    finally:
        stack = item.config.stash.get(_STACK, None)
        if stack:
            stack.end_jobs()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test what the parts logged since it began."""
    report = yield
    stack = item.config.stash.get(_STACK, None)
    if stack and report.failed and "cloudia_stack" in getattr(item, "fixturenames", ()):
        report.sections.append(("cloudia logs", stack.logs.text()))
    return report
