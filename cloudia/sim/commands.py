"""Commands of others that a start runs to their end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["run_command"]

_KEPT_LINES = 200
_LINE_LIMIT = 1024 * 1024


async def run_command(*command: str, on_line: Callable[[str], None] | None = None) -> str:
    """Run a command to its end, and return its last lines; `on_line` gets each as it comes.

    Killed, with what it started, where this is cancelled. `OSError` with its last words where it fails.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LINE_LIMIT,
        process_group=0,  # Ctrl-C in a terminal is ours to handle.
    )
    assert process.stdout  # noqa: S101 - it was asked for
    said: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        async for raw in process.stdout:
            line = raw.decode(errors="replace").strip()
            if line:
                said.append(line)
                if on_line:
                    on_line(line)
        await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise OSError(said[-1] if said else f"{command[0]} ended with status {process.returncode}")
    return "\n".join(said)
