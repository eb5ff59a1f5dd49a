"""`cloudia worker`: one more worker, in this terminal."""

from __future__ import annotations

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it


def worker(*, target: TargetName = None) -> None:
    """Run one more worker of the stack, in this terminal; Ctrl-C lets it finish."""
    from cloudia.cli.attached import become  # noqa: PLC0415 - lazy

    become("cloudia.worker", "worker", target)
