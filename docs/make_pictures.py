"""Make the pictures of the README: a recording of real commands in a real terminal, as SVG.

python docs/make_pictures.py
"""

from __future__ import annotations

import io
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

IMAGES = Path(__file__).parent / "images"
COLUMNS = 100
COMMANDS = (
    "cloudia up --detach",
    'cloudia send "why is the sky blue? [[words:60]]"',
    "cloudia status",
    "cloudia conversations list",
    "cloudia down",
)


def record(command: str, folder: Path) -> str:
    """Run a command in a terminal of its own. Return what it wrote, with the colours and as it stood at the end."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "LINES": "40", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    written = b""
    while process.poll() is None or select.select([master], [], [], 0.1)[0]:
        if select.select([master], [], [], 0.1)[0]:
            try:
                written += os.read(master, 65536)
            except OSError:
                break
    os.close(master)
    return settled(written.decode())


def settled(text: str) -> str:
    """Return what is left on the screen: a drawing that was drawn anew replaces the one before."""
    lines: list[str] = []
    row = 0
    for token in re.split(r"(\x1b\[\d*A|\x1b\[2K|\r\n|\r|\n)", text):
        if up := re.fullmatch(r"\x1b\[(\d*)A", token):
            row = max(0, row - int(up[1] or 1))
        elif token == "\x1b[2K":
            if row < len(lines):
                lines[row] = ""
        elif token.endswith("\n"):
            row += 1
        elif token and token != "\r":
            lines += [""] * (row + 1 - len(lines))
            lines[row] += token
    return "\n".join(re.sub(r"\x1b\[\?25[lh]", "", line) for line in lines)


def main() -> None:
    """Record the tour."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as name:
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), command))
            shown = record(command, Path(name)).replace(name, "~/demo").replace(str(Path(name).resolve()), "~/demo")
            console.print(Text.from_ansi(shown))
            time.sleep(0.1)
    IMAGES.mkdir(exist_ok=True)
    console.save_svg(str(IMAGES / "tour.svg"), title="cloudia")


if __name__ == "__main__":
    main()
