"""Proof that nothing of a stack is left: no process, no port, no temporary folder."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["URLS", "Leftovers"]

URLS = ("api_url", "websocket_url", "web_url", "aws_endpoint_url", "redis_url", "llm_url")


class Leftovers:
    """What runs for a stack now; `gone` asks for all of it later."""

    def __init__(self, run: dict[str, Any], *, temporary: Path | None = None, urls: tuple[str, ...] = URLS) -> None:
        self._temporary = temporary
        self._ports = sorted({urlsplit(run[url]).port or 0 for url in urls})
        self.processes: list[psutil.Process] = []
        for pid in (run["supervisor"]["pid"], *run["pids"].values()):
            process = psutil.Process(pid)
            self.processes += [process, *process.children(recursive=True)]
        assert all(_listens(port) for port in self._ports)

    async def gone_processes(self) -> None:
        """Wait until no process is left."""
        await eventually(lambda: not self.running)

    async def gone(self) -> None:
        """Wait until no process is left, then look for what else might be."""
        await self.gone_processes()
        assert not [port for port in self._ports if _listens(port)]
        if self._temporary:
            assert not list(self._temporary.glob("cloudia-*"))

    @property
    def running(self) -> list[psutil.Process]:
        """The processes that still run. `is_running` also compares start times, so a recycled id does not count."""
        return [process for process in self.processes if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
