"""The simulated provider of a running stack, made to answer as a test needs it."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia.local.project import Project
from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ask_provider", "fault", "quick", "reply"]


def ask_provider(run: dict[str, Any], method: str, name: str, **fields: Any) -> Any:
    """Call the provider's control endpoint, and return its answer."""
    control = Project(Path(run["project"])).secrets().control
    request = urllib.request.Request(
        f"{run['llm_url']}/_cloudia/{name}",
        json.dumps(fields).encode() if fields else None,
        {"content-type": "application/json", "authorization": f"Bearer {control}"},
        method=method,
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=HANGS) as response:
        return json.load(response)


def reply(run: dict[str, Any], *texts: str) -> None:
    """Have the next requests answered with these texts."""
    for text in texts:
        ask_provider(run, "POST", "replies", text=text)


@contextlib.contextmanager
def fault(run: dict[str, Any], kind: str, **fields: Any) -> Iterator[None]:
    """Have the provider fail, until the block ends."""
    ask_provider(run, "POST", "faults", kind=kind, **fields)
    try:
        yield
    finally:
        ask_provider(run, "DELETE", "faults")


@contextlib.contextmanager
def quick(run: dict[str, Any], *, ttft: float = 0.01, tps: float = 5000) -> Iterator[None]:
    """Have the provider answer at another pace, until the block ends."""
    before = ask_provider(run, "GET", "settings")
    ask_provider(run, "POST", "settings", ttft=ttft, tps=tps)
    try:
        yield
    finally:
        ask_provider(run, "POST", "settings", ttft=before["ttft"], tps=before["tps"])
