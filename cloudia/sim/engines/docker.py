"""Docker, through its command: whether it is there, an image, and a container that does not outlive its stack.

`python -m cloudia.sim.engines.docker NAME ARGUMENTS…` is `docker run` in the foreground, as a part of a stack. However it
ends, by itself or by SIGTERM, the container is removed; where it was killed, whoever starts or stops the stack next does that.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

from cloudia.errors import PartError
from cloudia.sim.commands import run_command

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_docker", "get_image", "has_image", "remove_container"]

_ANSWER_SECONDS = 20.0
_PULL_SECONDS = 840.0
"""Shorter than the time in which `up --detach` must be ready."""


async def check_docker() -> str:
    """Return the version of Docker's daemon. `PartError` where there is no command, or no daemon answers."""
    if not shutil.which("docker"):
        raise PartError(
            "LocalStack is not running, and there is no docker command to start its container",
            hint="Install Docker, start LocalStack yourself, or use --engine ministack.",
            code="no_docker",
        )
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await run_command("docker", "version", "--format", "{{.Server.Version}}")
    except (OSError, TimeoutError) as error:
        raise PartError(
            f"LocalStack is not running, and Docker cannot start it: {str(error) or f'no answer in {_ANSWER_SECONDS:g} s'}",
            hint="Start Docker's daemon, start LocalStack yourself, or use --engine ministack.",
            code="docker_unavailable",
        ) from error


async def has_image(image: str) -> bool:
    """Tell whether an image is on this machine."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await run_command("docker", "image", "inspect", "--format", "{{.Id}}", image)
    except (OSError, TimeoutError):
        return False
    return True


async def get_image(image: str, say: Callable[[str], None]) -> None:
    """Have an image on this machine. `say` is told how its download goes on. `PartError` where that fails."""
    if await has_image(image):
        return
    say(f"pulling {image}, once")
    layers: set[str] = set()
    complete: set[str] = set()

    def on_line(line: str) -> None:
        layer, _, state = line.partition(": ")
        if state in {"Pulling fs layer", "Waiting"}:
            layers.add(layer)
        elif state in {"Pull complete", "Already exists"} and layer not in complete:
            complete.add(layer)
            say(f"pulling {image}: {len(complete)} of {len(layers | complete)} layers")

    try:
        async with asyncio.timeout(_PULL_SECONDS):
            await run_command("docker", "pull", image, on_line=on_line)
    except (OSError, TimeoutError) as error:
        raise PartError(
            f"{image} cannot be pulled: {str(error) or f'not within {_PULL_SECONDS:g} s'}",
            hint=f"Try `docker pull {image}` yourself, or use --engine ministack.",
            code="no_image",
        ) from error


def remove_container(name: str) -> None:
    """Remove a container, running or not, if there is one."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            ["docker", "rm", "--force", "--volumes", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_SECONDS,
            check=False,
        )


def _end(_number: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # The removal is not to be interrupted.
    sys.exit(0)


def main(name: str, *arguments: str) -> int:
    """Run a container until it ends, or until SIGTERM, and remove it. Return the exit status."""
    signal.signal(signal.SIGTERM, _end)
    remove_container(name)  # One that was left behind has our name.
    process = None
    try:
        process = subprocess.Popen(
            ["docker", "run", "--rm", "--name", name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # Where we are killed, it must not hold the pipe that our log is read from.
            stderr=subprocess.STDOUT,
        )
        assert process.stdout  # noqa: S101 - it was asked for
        for line in process.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        return process.wait()
    finally:
        if process:  # It must not create the container after we have looked for it.
            process.kill()
            process.wait()
        remove_container(name)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
