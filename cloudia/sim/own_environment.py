"""Environments in the user's cache folder, made once: for programs that must not bind the user's own."""

from __future__ import annotations

import asyncio
import fcntl
import re
import shutil
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudia.errors import PartError
from cloudia.sim.commands import run_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["OwnEnvironment"]

_INSTALL_SECONDS = 600
_LOOK_SECONDS = 0.2
_FETCHED = re.compile(r"(?:Downloading|Using cached) (?:\S*/)?([A-Za-z0-9_.]+-[0-9][^-\s]*)\S*(?<!\.metadata) \((.+)\)")
"""How pip says that it has the file of a package, not only what is told about it."""


@dataclass(frozen=True, slots=True)
class OwnEnvironment:
    """An environment of one program."""

    name: str
    """Of its folder: the program with its version."""
    title: str
    """As people are told of it."""
    install: tuple[str, ...]
    """What `pip install` is told; `{folder}` stands for the environment's folder."""
    otherwise: str
    """What to do where it cannot be made: `Install …, or …`."""

    @property
    def folder(self) -> Path:
        """Where it is, for this Python."""
        from platformdirs import user_cache_path  # noqa: PLC0415 - only where it is needed

        version = f"py{sys.version_info.major}{sys.version_info.minor}"
        return user_cache_path("cloudia") / f"{self.name}-{version}"

    @property
    def python(self) -> str:
        """Its Python."""
        return str(self.folder / "bin" / "python")

    @property
    def is_made(self) -> bool:
        """Whether it can be used: made to its end, and the Python that it was made of is still there."""
        return (self.folder / "complete").exists() and Path(self.python).exists()

    async def make(self, say: Callable[[str], None]) -> None:
        """Make it where it is not made yet. Of several that want it at the same time one makes it, the others wait.

        `say` is told how that goes on: it takes half a minute and a network. It ends where this is cancelled. `PartError`
        where it fails.
        """
        try:
            async with _locked(self.folder.with_suffix(".lock")):
                if not self.is_made:
                    say(f"installing {self.title} into {self.folder}, once")
                    await self._make(say)
                    say(f"{self.title} is installed")
        except (OSError, TimeoutError) as error:
            raise PartError(
                f"{self.title} cannot be installed: {str(error) or f'not within {_INSTALL_SECONDS} s'}",
                hint=self.otherwise,
            ) from error

    async def _make(self, say: Callable[[str], None]) -> None:
        """Make it from nothing. It counts as made once `complete` is in it, so what was left half made is made again."""

        def tell(line: str) -> None:
            if fetched := _FETCHED.match(line):
                say(f"installing {self.title}: {fetched[1]} ({fetched[2]})")

        folder = self.folder
        shutil.rmtree(folder, ignore_errors=True)
        async with asyncio.timeout(_INSTALL_SECONDS):
            await run_command(sys.executable, "-m", "venv", str(folder))
            pip = [self.python, "-m", "pip", "--no-input", "--disable-pip-version-check", "install"]
            wanted = [word.format(folder=folder) for word in self.install]
            # A pip that was told to install for the user, in its configuration, refuses to do so into an environment.
            await run_command(*pip, "--no-user", "--progress-bar", "off", *wanted, on_line=tell)
        (folder / "complete").touch()


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Hold a lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOOK_SECONDS)
        yield
