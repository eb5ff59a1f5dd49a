"""`cloudia gateway`: one more gateway, in this terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it


def gateway(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    target: TargetName = None,
) -> None:
    """Run one more gateway of the stack, in this terminal."""
    from cloudia.cli.attached import become  # noqa: PLC0415 - lazy

    become("cloudia.gateway", "gateway", target, CLOUDIA_GATEWAY_PORT=str(port))
