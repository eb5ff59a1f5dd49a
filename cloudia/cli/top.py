"""`cloudia top`: the running stack, second by second."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudia.local.project import Project
    from cloudia.local.sampler import LocalSampler


def top() -> None:
    """Show the parts, the queue, throughput, latencies, breakers and the last jobs of the stack of this folder."""
    import sys  # noqa: PLC0415 - lazy

    from cloudia.errors import UsageError  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("this needs a terminal", hint="In a script, use `cloudia status --json`.")
    project = find_project()
    project.require_run()

    from cloudia.tui.app import TopApp  # noqa: PLC0415 - lazy

    TopApp(make_sampler(project)).run()


def make_sampler(project: Project) -> LocalSampler:
    """Return what looks at the stack that runs in a project, and tells its logs readably."""
    from cloudia.local.log_lines import plain  # noqa: PLC0415 - lazy
    from cloudia.local.sampler import LocalSampler  # noqa: PLC0415 - lazy

    return LocalSampler(project, plain)
