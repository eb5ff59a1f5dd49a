"""A recorder that runs as a command, as a user has it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.patience import HANGS
from tests.support import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["answers", "recording"]


@contextmanager
def recording(file: Path, url: str, *options: str, **environment: str) -> Iterator[str]:
    """Run `cloudia llm record` until the block ends. Give the URL to ask."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cloudia", "llm", "record", str(file), url, "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean_environment(), **environment},
        cwd=file.parent,
    )
    try:
        assert process.stdout
        yield json.loads(process.stdout.readline())["url"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANGS)
        assert process.returncode == 0, err
        assert json.loads(out)["answers"] == (len(answers(file)) if file.exists() else 0)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=HANGS)


def answers(file: Path) -> list[dict[str, Any]]:
    """Return the answers of a case."""
    return [exchange for turn in json.loads(file.read_text())["turns"] for exchange in turn["exchanges"]]
