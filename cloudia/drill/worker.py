"""`python -m cloudia.drill.worker TROUBLES`: a worker under troubles that reach no process by a signal.

TROUBLES is JSON: a list of `storm.Trouble`, whose times count from the worker's start.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from cloudia.drill.gatekeeper import Gatekeeper, gatekeeper
from cloudia.drill.storm import Trouble
from cloudia.worker.__main__ import main as work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ENDPOINT = "CLOUDIA_AWS_ENDPOINT_URL"


def suffer(troubles: Sequence[Trouble], gate: Gatekeeper, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Have each action refused in its time; none of them begins before the end of another."""
    now = 0.0
    for trouble in troubles:
        sleep(trouble.at - now)
        gate.refuses.add(trouble.action)
        sleep(trouble.seconds)
        gate.refuses.discard(trouble.action)
        now = trouble.at + trouble.seconds


def main() -> int:
    """Return the worker's exit status."""
    troubles = [Trouble(**each) for each in json.loads(sys.argv[1])]
    with gatekeeper(os.environ[_ENDPOINT]) as gate:
        os.environ[_ENDPOINT] = gate.url
        threading.Thread(target=suffer, args=(troubles, gate), daemon=True).start()
        return work()


if __name__ == "__main__":
    sys.exit(main())
