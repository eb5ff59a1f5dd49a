"""Where the HTTP API of a stack is when the engine serves it."""

from __future__ import annotations

__all__ = ["API_ID_TAG", "http_api_url"]

API_ID_TAG = "ms-custom-id"
"""MiniStack gives an API the id that this tag names, so its URL is known before the API is there, and outlives a restart."""


def http_api_url(engine_url: str, stack_name: str) -> str:
    """Return the URL of a stack's HTTP API. By its path: names under `*.localhost` do not resolve everywhere."""
    return f"{engine_url}/_aws/execute-api/{stack_name}"
