"""Listeners of a process under test: what they are told goes to the file that `TOLD` names, a line an event."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudia.telemetry.events import Happening

__all__ = ["fails", "sleeps", "told", "told_in"]


def told(event: Happening) -> None:
    """Write an event down."""
    line = json.dumps({"event": type(event).__name__, **asdict(event)})
    with Path(os.environ["TOLD"]).open("a") as file:
        file.write(f"{line}\n")


def fails(event: Happening) -> None:
    """Write an event down, and raise."""
    told(event)
    raise RuntimeError("no")


def sleeps(event: Happening) -> None:
    """Write an event down, and never come back."""
    told(event)
    time.sleep(3600)


_OF_PARTS = {"WorkerSampled", "QueueSampled", "GatewaySampled", "ConnectionOpened", "ConnectionEnded"}
"""What tells how a part is, whenever that is."""


def told_in(file: Path) -> list[dict[str, Any]]:
    """Return what a listener was told of messages."""
    told = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [event for event in told if event["event"] not in _OF_PARTS]
