"""One collector for the tests that leave nothing behind in it but spans of traces of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sim.collector.running import Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A collector that forwards nothing."""
    with running(tmp_path_factory.mktemp("collector") / "spans.sqlite") as found:
        yield found
