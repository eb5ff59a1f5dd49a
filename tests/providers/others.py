"""Mock LLM servers that others have written, each pinned, in the user's cache folder; the tests alone use them."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from platformdirs import user_cache_path

from cloudia.sim.ports import choose_port
from tests.patience import HANGS
from tests.sim.llm.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MissingError", "aimock", "llmock"]

AIMOCK = "@copilotkit/aimock@1.43.0"
LLMOCK = "llmock==0.2.2"


class MissingError(Exception):
    """A server cannot be had here, and why."""


@contextmanager
def aimock(fixtures: list[dict[str, Any]], folder: Path) -> Iterator[httpx2.Client]:
    """Run aimock (npm) with these fixtures. `MissingError` where it cannot be had."""
    node, npm = _command("node"), _command("npm")
    home = _installed(AIMOCK, lambda home: [npm, "install", "--no-audit", "--no-fund", "--prefix", str(home), AIMOCK])
    file = folder / "fixtures.json"
    file.write_text(json.dumps({"fixtures": fixtures}))
    script = home / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    with _running([node, str(script), "--fixtures", str(file)], folder) as http:
        yield http


@contextmanager
def llmock(folder: Path) -> Iterator[httpx2.Client]:
    """Run llmock (PyPI), which says in the end how its client coped. `MissingError` where it cannot be had."""

    def install(home: Path) -> list[str]:
        _run([sys.executable, "-m", "venv", str(home)])
        return [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", LLMOCK]

    home = _installed(LLMOCK, install)
    # Slowly, so that it sees a client stop reading; what it has sent whole it takes to be accepted.
    pace = ["--stream-chunk-delay-ms", "20"]
    with _running([str(home / "bin" / "llmock"), "serve", "--response-style", "echo", *pace], folder) as http:
        yield http


def _installed(package: str, install: Callable[[Path], list[str]]) -> Path:
    """Return the folder that a package is installed in, once for all runs."""
    folder = user_cache_path("cloudia") / "others" / package.replace("/", "-")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _run(install(folder))
            (folder / "complete").touch()
    return folder


def _command(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise MissingError(f"there is no {name} command")
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        why = next((line for line in said if "error" in line.lower()), str(done.returncode))
        raise MissingError(f"{Path(command[0]).name} failed: {why}")


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[httpx2.Client]:
    """Run a server until the block ends. Give a client of it."""
    port = choose_port()
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANGS, trust_env=False) as http:
            wait_until(lambda: process.poll() is not None or _answers(http))
            assert process.poll() is None, (folder / "server.log").read_text()
            yield http
    finally:
        process.terminate()
        process.wait(HANGS)


def _answers(http: httpx2.Client) -> bool:
    try:
        return http.get("/health").is_success
    except httpx2.HTTPError:
        return False
