"""`cloudia top`: a stack that runs, second by second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it

if TYPE_CHECKING:
    from cloudia.local.project import Project
    from cloudia.local.sampler import LocalSampler
    from cloudia.operate.sampler import StackSampler


def top(*, target: TargetName = None) -> None:
    """Show the queue, throughput, latencies, breakers and the last jobs of a stack; of one of this folder its parts too."""
    from cloudia.cli.cloud_target import find_cloud  # noqa: PLC0415 - lazy
    from cloudia.cli.drawn import run_drawn  # noqa: PLC0415 - lazy
    from cloudia.cli.streams import require_terminal  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    require_terminal("In a script, use `cloudia status --json`.")
    project = find_project()
    sampler = make_sampler(project) if find_cloud(project, target).run else _sampler_elsewhere(target)

    from cloudia.tui.app import TopApp  # noqa: PLC0415 - lazy

    run_drawn(TopApp(sampler))


def make_sampler(project: Project) -> LocalSampler:
    """Return what looks at the stack that runs in a project, and tells its logs readably. `NoStackError` where none does."""
    from cloudia.cloud.cloud import Cloud  # noqa: PLC0415 - lazy
    from cloudia.local.log_lines import plain  # noqa: PLC0415 - lazy
    from cloudia.local.sampler import LocalSampler  # noqa: PLC0415 - lazy
    from cloudia.operate.sampler import StackSampler  # noqa: PLC0415 - lazy

    stack = StackSampler(Cloud(project.settings_of(project.require_run())))
    return LocalSampler(project, stack, plain)


def _sampler_elsewhere(target: str | None) -> StackSampler:
    """Return what looks at the stack of another target."""
    from cloudia.cli.services import open_services  # noqa: PLC0415 - lazy
    from cloudia.operate.sampler import StackSampler  # noqa: PLC0415 - lazy

    return StackSampler(open_services(target).cloud)
