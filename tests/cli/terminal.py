"""Commands that run: in a terminal, a pty that they control as if a shell had started them; and without one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from typing import TYPE_CHECKING

from tests.patience import HANGS
from tests.support import CLI, clean_environment, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["CTRL_C", "Terminal", "running", "terminal"]

CTRL_C = b"\x03"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COLOURS = re.compile(r"\x1b\[(?:[0-9;]*;)?[349][0-8](?:;[0-9;]*)?m")
# The child takes the pty as its terminal and becomes the command: so Ctrl-C reaches it as it would from a keyboard.
_BECOME = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


class Terminal:
    """A command of `cloudia` that runs in a terminal of 120 by 40."""

    def __init__(self, *arguments: str, folder: Path, environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BECOME, *CLI, *arguments],
            cwd=folder,
            env=clean_environment(**{"TERM": "xterm-256color", **environment}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._raw = bytearray()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the last holder of the terminal has ended.
            while piece := os.read(self._ours, 65536):
                self._raw += piece

    @property
    def raw(self) -> str:
        """All that was drawn, with its escapes."""
        return self._raw.decode(errors="replace")

    @property
    def text(self) -> str:
        """All that was drawn, without colours and cursor movements."""
        return _ESCAPES.sub("", self.raw).replace("\r", "")

    @property
    def coloured(self) -> bool:
        """Whether anything was drawn in colour."""
        return _COLOURS.search(self.raw) is not None

    async def shows(self, *texts: str) -> str:
        """Wait until each text was drawn, and return everything."""

        def shown() -> bool:
            ended = self.process.poll() is not None and not self._reading.is_alive()
            missing = [text for text in texts if text not in self.text]
            assert not (ended and missing), f"ended with {self.process.returncode}, without {missing}:\n{self.text}"
            return not missing

        await eventually(shown)
        return self.text

    def type(self, keys: bytes | str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode() if isinstance(keys, str) else keys)

    async def ends(self) -> int:
        """Wait until the command has ended, and return its exit code."""
        await eventually(lambda: self.process.poll() is not None)
        self._reading.join(HANGS)
        code: int = self.process.returncode
        return code

    def close(self) -> None:
        """End the command, if it has not ended, and give the terminal back."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(HANGS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._reading.join(HANGS)
        os.close(self._ours)


@contextlib.contextmanager
def terminal(*arguments: str, folder: Path, **environment: str) -> Iterator[Terminal]:
    """Run a command in a terminal until the block ends."""
    opened = Terminal(*arguments, folder=folder, environment=environment)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def running(*arguments: str, folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command without a terminal until the block ends, its output going to `log`."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*CLI, *arguments],
            cwd=folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
