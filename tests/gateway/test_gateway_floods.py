"""A client that floods costs a gateway a bounded amount of memory, and another client is answered meanwhile (I7).

Each of these was taken in without a bound by an older version of a library, so that they also hold its lower bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from tests.gateway.nodes import greet, opened, running
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support import Cloud

_GROWTH = 32 * 2**20
_FRAMES = 1_000_000
_TEXT, _CONTINUATION, _PING, _FIN, _MASKED = 0x01, 0x00, 0x09, 0x80, 0x80


def _frame(kind: int, payload: bytes = b"") -> bytes:
    """Return a masked frame, whose mask is zero."""
    return bytes([kind, _MASKED | len(payload)]) + b"\0\0\0\0" + payload


_FLOODS = {
    "a message of empty fragments": (_frame(_TEXT), _frame(_CONTINUATION)),
    "a message of tiny fragments": (_frame(_TEXT, b"{"), _frame(_CONTINUATION, b" ")),
    "empty messages": (b"", _frame(_FIN | _TEXT)),
}


@pytest.mark.parametrize("flood", _FLOODS)
@pytest.mark.parametrize("greeted", [True, False], ids=["after the hello", "instead of a hello"])
async def test_i7_a_flood_fills_no_memory(cloud: Cloud, tmp_path: Path, flood: str, *, greeted: bool) -> None:
    """Of a million frames none stays: the connection is closed, or they are passed over."""
    first, more = _FLOODS[flood]
    async with running(cloud, tmp_path / "log") as node, opened(node) as other:
        await greet(other, cloud.token())
        gateway = psutil.Process(node.process.pid)
        before = gateway.memory_info().rss
        async with opened(node) as attacker:
            if greeted:
                await greet(attacker, cloud.token())
            transport = attacker.transport
            transport.write(first)
            for _ in range(_FRAMES // 10_000):
                if transport.is_closing():
                    break
                transport.write(more * 10_000)
                await eventually(lambda: transport.is_closing() or not transport.get_write_buffer_size())
                assert gateway.memory_info().rss - before < _GROWTH
            await (await other.ping())
        assert gateway.memory_info().rss - before < _GROWTH
        async with opened(node) as another:
            assert (await greet(another, cloud.token()))["type"] == "ready"
