"""A verb that draws: its application runs until it ends or a signal ends it, and the terminal is given back as it was."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from textual.app import App

__all__ = ["run_drawn"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_drawn(app: App[None]) -> None:
    """Run an application. Raises `typer.Exit` with its exit code, 128 and its number after a signal."""
    asyncio.run(_run(app))
    raise typer.Exit(app.return_code or 0)


async def _run(app: App[None]) -> None:
    for number in _SIGNALS:  # Later: a screen that is being put together would stumble.
        asyncio.get_running_loop().add_signal_handler(number, app.call_later, app.exit, None, 128 + number)
    await app.run_async()
