"""Processes of cloudia's own modules, forked from one that has imported what they import.

A command, a worker or a gateway is a process of its own, with its own environment, folder and output, as ever; it only does
not spend most of its time on importing boto3 and the SDKs once more. What a terminal, a wheel or `cloudia up` starts is
started the usual way.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "anyio._backends._asyncio",
        "boto3",
        "cloudia.cli.main",
        "cloudia.cli.services",
        "cloudia.cli.target",
        "cloudia.client.client",
        "cloudia.operate.dead_letters",
        "cloudia.gateway.__main__",
        "cloudia.local.chaos",
        "cloudia.local.health",
        "cloudia.deploy.provision",
        "cloudia.local.start",
        "cloudia.worker.__main__",
        "cloudia.worker.providers.openai",
        "encodings.idna",
        "httpcore2",
        "httpx2",
        "rich.console",
        "rich.table",
    ]
)


class Fork:
    """A process that runs: what the tests use of `asyncio.subprocess.Process`."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        self.pid = process.pid or 0

    @property
    def returncode(self) -> int | None:
        """Its exit status, minus the signal that ended it, or None."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal. `ProcessLookupError` where it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it."""
        self._process.kill()

    async def wait(self) -> int:
        """Wait for its end. Return `returncode`."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        return self._process.exitcode or 0

    def join(self, seconds: float) -> int:
        """Wait for its end. Return `returncode`; `TimeoutError` where it does not end, which is then killed."""
        self._process.join(seconds)
        if self.returncode is None:
            self.kill()
            raise TimeoutError
        return self.returncode


Child = Fork | asyncio.subprocess.Process


_NOTHING = Path(os.devnull)


def fork(
    module: str,
    *arguments: str,
    environment: dict[str, str],
    folder: Path,
    stdin: Path = _NOTHING,
    out: Path = _NOTHING,
    err: Path = _NOTHING,
) -> Fork:
    """Run `python -m module` in a folder, its input from a file; what it prints is added to files."""
    out.touch()
    err.touch()
    paths = (str(path) for path in (folder, stdin, out, err))
    process = _CONTEXT.Process(target=_run, args=(module, arguments, environment, *paths), daemon=True)
    process.start()
    return Fork(process)


def can_fork(environment: dict[str, str]) -> bool:
    """Whether nothing is asked for in an environment that Python heeds when it starts."""
    names = {name for name in {*environment, *os.environ} if name.startswith(("PYTHON", "LANG", "LC_")) or name == "TZ"}
    return all(environment.get(name) == os.environ.get(name) for name in names - {"PYTHONUNBUFFERED"})


def _run(module: str, arguments: tuple[str, ...], environment: dict[str, str], *paths: str) -> None:
    folder, stdin, out, err = paths
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(stdin, os.O_RDONLY), 0)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), errors="backslashreplace", write_through=True)
    sys.path[0] = folder
    sys.argv[1:] = arguments
    sys.modules.pop(f"{module}.__main__", None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
