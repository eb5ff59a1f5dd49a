"""The client library: talks to a running stack over HTTP and WebSocket, wherever it runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudia.client.answer import Answer
    from cloudia.client.client import Client
    from cloudia.client.stream import EventStream
    from cloudia.client.tokens import Token

__all__ = ["Answer", "Client", "EventStream", "Token"]

_HOMES = {"Answer": "answer", "Client": "client", "EventStream": "stream", "Token": "tokens"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a stream alone needs no HTTP client, and that is half of the import time."""
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"cloudia.client.{_HOMES[name]}"), name)
