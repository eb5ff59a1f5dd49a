"""A stand-in for the `docker` command: it records what it is told, and its one image is MiniStack, or what answers like it.

A container is a process of its own, so that it outlives a `docker run` that is killed, as Docker's do. What it does is said
by files in its folder: `down` (no daemon answers), `image` (it was pulled), `refused` (nothing can be pulled), `services`
(the container is a server that has these services alone).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

__all__ = ["StandInDocker"]


class StandInDocker:
    """The stand-in as the tests see it: a folder to put first on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        script = self.bin / "docker"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {folder} "$@"\n')
        script.chmod(0o755)

    @property
    def path(self) -> str:
        """The PATH on which the stand-in comes first."""
        return f"{self.bin}:{os.environ['PATH']}"

    def has(self, name: str, text: str = "") -> None:
        """Say how it is to behave."""
        (self.folder / name).write_text(text)

    @property
    def calls(self) -> list[list[str]]:
        """What it was told, in order."""
        return [call["arguments"] for call in self._log()]

    @property
    def tokens(self) -> set[str | None]:
        """The tokens that its `run` found in the environment."""
        return {call["token"] for call in self._log() if call["arguments"][0] == "run"}

    def _log(self) -> list[dict[str, Any]]:
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def containers(self) -> list[str]:
        """The containers that there are."""
        return sorted(path.stem for path in self.folder.glob("*.container"))

    def pid(self, name: str) -> int:
        """Return the process that is a container, 0 where there is none."""
        try:
            return int((self.folder / f"{name}.container").read_text())
        except FileNotFoundError:
            return 0

    def leave(self, name: str) -> int:
        """Have a container that somebody left behind. Return its process."""
        process = subprocess.Popen(["sleep", "300"], start_new_session=True)
        process.returncode = 0  # It is nobody's child that anybody waits for.
        self.has(f"{name}.container", str(process.pid))
        return process.pid

    def close(self) -> None:
        """End what is left."""
        for name in self.containers:
            _remove(self.folder, name)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # Whose child it is may take its time.
    except psutil.Error:
        return False


def _remove(folder: Path, name: str) -> bool:
    path = folder / f"{name}.container"
    try:
        pid = int(path.read_text())
    except FileNotFoundError:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    while _runs(pid):
        time.sleep(0.01)
    path.unlink(missing_ok=True)
    return True


def _run(folder: Path, arguments: list[str]) -> int:
    name = arguments[arguments.index("--name") + 1]
    if (folder / f"{name}.container").exists():
        print(f'Conflict. The container name "/{name}" is already in use', file=sys.stderr)
        return 125
    port = arguments[arguments.index("--publish") + 1].split(":")[1]
    services = folder / "services"
    command = [sys.executable, "-m", "ministack"]
    if services.exists():
        command = [sys.executable, __file__, "serve", port, services.read_text()]
    environment = {**os.environ, "GATEWAY_PORT": port, "BIND_HOST": "127.0.0.1"}
    environment |= {"IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
    quiet = subprocess.DEVNULL  # It must not hold the pipes of a `docker run` that was killed.
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    written = folder / f"{name}.starting"  # Whoever looks sees a whole process id.
    written.write_text(str(process.pid))
    written.rename(folder / f"{name}.container")
    return process.wait()


def _serve(port: int, services: str) -> None:
    """Answer as LocalStack does that has these services alone."""
    from http.server import BaseHTTPRequestHandler, HTTPServer  # noqa: PLC0415 - only here

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/_localstack/health"
            states = dict.fromkeys(services.split(","), "available")
            body = json.dumps({"services": states, "edition": "community", "version": "4.14.0"}).encode()
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(body if known else b"<Error><Code>NoSuchBucket</Code></Error>")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


def _pull(folder: Path) -> bool:
    if (folder / "refused").exists():
        print("Error response from daemon: manifest unknown", file=sys.stderr)
        return False
    for layer in ("a1", "b2"):
        print(f"{layer}: Pulling fs layer", flush=True)
    for layer in ("a1", "b2"):
        time.sleep(0.05)
        print(f"{layer}: Pull complete", flush=True)
    (folder / "image").touch()
    return True


def _main(folder: Path, arguments: list[str]) -> int:
    with (folder / "log").open("a") as log:
        log.write(json.dumps({"arguments": arguments, "token": os.environ.get("LOCALSTACK_AUTH_TOKEN")}) + "\n")
    if (folder / "down").exists():
        print("Cannot connect to the Docker daemon. Is the docker daemon running?", file=sys.stderr)
        return 1
    verbs: dict[str, Callable[[], bool]] = {
        "version": lambda: print("28.2.2") is None,
        "image": (folder / "image").exists,
        "pull": lambda: _pull(folder),
        "run": lambda: _run(folder, arguments) == 0,
        "rm": lambda: _remove(folder, arguments[-1]),
    }
    return 0 if verbs[arguments[0]]() else 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(int(sys.argv[2]), sys.argv[3])
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2:]))
