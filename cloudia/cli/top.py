"""`cloudia top`: the running stack, second by second."""

from __future__ import annotations


def top() -> None:
    """Show the parts, the queue, throughput, latencies, breakers and the last jobs of the stack of this folder."""
    import sys  # noqa: PLC0415 - lazy

    from cloudia.errors import UsageError  # noqa: PLC0415 - lazy
    from cloudia.sim.project import find_project  # noqa: PLC0415 - lazy

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("this needs a terminal", hint="In a script, use `cloudia status --json`.")
    project = find_project()
    project.require_run()

    from cloudia.cli.log_lines import render  # noqa: PLC0415 - lazy
    from cloudia.sim.sampler import LocalSampler  # noqa: PLC0415 - lazy
    from cloudia.tui.app import TopApp  # noqa: PLC0415 - lazy

    TopApp(LocalSampler(project, lambda line, part: render(line, part).plain)).run()
