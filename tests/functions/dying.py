"""A function that is killed with SIGKILL between its two writes: `python -m tests.functions.dying EVENT`."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from cloudia.cloud.queue import JobQueue
from cloudia.functions.post_message import handler


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    JobQueue.send = _die  # type: ignore[assignment, method-assign]
    handler(json.loads(sys.argv[1]), None)
