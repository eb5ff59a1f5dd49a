"""`python -m cloudia.testing.worker`: a worker that forgets when it is told to what a test has taught it of its provider."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from cloudia.testing.leftovers import FORGET
from cloudia.worker.__main__ import main as work

if TYPE_CHECKING:
    from cloudia.worker.services import Services


def _listen(services: Services) -> None:
    asyncio.get_running_loop().add_signal_handler(FORGET, services.llm.forget)


if __name__ == "__main__":
    sys.exit(work(_listen))
