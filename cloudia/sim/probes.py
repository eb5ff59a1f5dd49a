"""Probes: each part is asked itself whether it is ready."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from contextlib import aclosing
from typing import Any

from cloudia.direct import opener

__all__ = ["gateway_says_ready", "get_json", "http_answers", "http_json", "redis_answers"]

_SECONDS = 2.0


async def http_json(url: str, *, token: str = "") -> Any:
    """Return the JSON that a loopback URL answers with 2xx. Any failure raises."""
    return await asyncio.to_thread(get_json, url, token=token)


async def http_answers(url: str) -> bool:
    """Tell that a URL answers with JSON, as `http_json` raises where it does not."""
    await http_json(url)
    return True


def get_json(url: str, *, token: str = "") -> Any:
    """Return the JSON that a loopback URL answers with 2xx, asked with a bearer token where there is one.

    `OSError` and `ValueError` where it does not.
    """
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"} if token else {})  # noqa: S310 - ours
    with opener(url).open(request, timeout=_SECONDS) as response:
        return json.loads(response.read())


async def redis_answers(host: str, port: int, password: str) -> bool:
    """Tell whether a Redis takes a password, and answers PING."""
    async with asyncio.timeout(_SECONDS):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            # Arrays, as fakeredis knows no inline commands.
            writer.write(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(password.encode()), password.encode()))
            writer.write(b"*1\r\n$4\r\nPING\r\n")
            return await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n"
        finally:
            writer.close()


async def gateway_says_ready(url: str, token: str) -> bool:
    """Tell whether a hello is answered with `ready`."""
    from cloudia.client.stream import EventStream  # noqa: PLC0415 - imported when it is needed, in a start that is short

    async with asyncio.timeout(_SECONDS), aclosing(EventStream(url, token).events()) as events:  # type: ignore[type-var]
        return (await anext(events)).type == "ready"
