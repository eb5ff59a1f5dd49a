"""`python -m cloudia.drill.worker TROUBLES NUMBER`: a worker under troubles that reach no process by a signal.

TROUBLES is JSON: a list of `storm.Trouble`, whose times count from the worker's start. NUMBER says which worker it is: the
clock of the first one is set, those of the others are right.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudia.drill.gatekeeper import gatekeeper
from cloudia.drill.storm import Trouble
from cloudia.worker.__main__ import main as work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

_ENDPOINT = "CLOUDIA_AWS_ENDPOINT_URL"


class SetClock:
    """The wall clock of this process, as `time.time` tells it, and by how many seconds it is wrong."""

    def __init__(self, right: Callable[[], float]) -> None:
        self._right = right
        self.wrong_by = 0.0

    def __call__(self) -> float:
        """Return the time in epoch seconds."""
        return self._right() + self.wrong_by

    @contextmanager
    def set(self, by: float) -> Iterator[None]:
        """Be wrong while the block runs."""
        self.wrong_by = by
        try:
            yield
        finally:
            self.wrong_by = 0.0


def suffer(
    troubles: Sequence[Trouble],
    during: Callable[[Trouble], AbstractContextManager[None]],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Have each trouble in its time; none of them begins before the end of another."""
    now = 0.0
    for trouble in troubles:
        sleep(trouble.at - now)
        with during(trouble):
            sleep(trouble.seconds)
        now = trouble.at + trouble.seconds


def main() -> int:
    """Return the worker's exit status."""
    troubles, first = [Trouble(**each) for each in json.loads(sys.argv[1])], sys.argv[2] == "1"
    clock = SetClock(time.time)
    time.time = clock
    with gatekeeper(os.environ[_ENDPOINT]) as gate:
        os.environ[_ENDPOINT] = gate.url
        refused = [trouble for trouble in troubles if trouble.refused]
        wrong = [trouble for trouble in troubles if trouble.clock and first]
        for some, during in (
            (refused, lambda trouble: gate.refusing(trouble.refused)),
            (wrong, lambda trouble: clock.set(trouble.clock)),
        ):
            threading.Thread(target=suffer, args=(some, during), daemon=True).start()
        return work()


if __name__ == "__main__":
    sys.exit(main())
