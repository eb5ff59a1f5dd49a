"""Workers killed with SIGKILL at one step after the other, many times each; then I1 to I4 are checked from outside.

python -m tests.worker.kill_points --times 50
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia.drill.storm import Message
from cloudia.drill.witness import Witness
from cloudia.local.chaos import Chaos
from cloudia.settings import to_environment
from tests.forks import fork
from tests.support import RunningStack, child, clean_environment, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.drill.verdict import Verdict

STEPS = ("after receive", "after lease", "in mid-stream", "before commit", "after commit", "before delete")
_TURNS = 2
"""Messages of each conversation, so that an order can be broken."""
_MID_STREAM = 5
_ROOT = Path(__file__).parents[2]


def start(folder: Path) -> RunningStack:
    """Start a stack without a worker, whose jobs come back after 3 s."""
    return start_stack(
        folder,
        CLOUDIA_UP_WORKERS="0",
        CLOUDIA_WORKER_VISIBILITY_SECONDS="3",
        CLOUDIA_WORKER_LEASE_SECONDS="3",
        CLOUDIA_WORKER_POLL_SECONDS="1",
        CLOUDIA_WORKER_MAX_ATTEMPTS="20",
    )


async def kill_at(stack: RunningStack, *steps: str, times: int) -> Verdict:
    """Kill `times` workers at each step, all steps at once, with a message for each; let one more worker finish. Judge."""
    message = Message(0.0, "a worker dies [[words:20]]", twice=False)
    conversations = [[message] * _TURNS] * max(1, len(steps) * times // _TURNS)
    settings = stack.settings
    environment = {**clean_environment(), **to_environment(settings)}
    run, secret = stack.project.require_run(), stack.project.secrets().token
    async with Witness(run, settings, secret, conversations, _Silent(), provider=Chaos(run)) as witness:
        talking = asyncio.create_task(witness.talk())
        dying = {
            step: fork(
                *("tests.worker.kill_points", "--die", step, "--times", str(times)),
                environment={**environment, "CLOUDIA_WORKER_CONCURRENCY": "1"},
                folder=_ROOT,
            )
            for step in steps
        }
        for step, process in dying.items():
            async with asyncio.timeout(60 + 10 * times):
                assert await process.wait() == 0, f"not each of {times} workers was killed {step}"
        async with child("cloudia.worker", environment, stack.folder / "last-worker.log"):
            await talking
        return await witness.verdict()


class _Silent:
    def count(self, *, accepted: int, ended: int) -> None:
        """Show nothing."""


# --- the workers that die -------------------------------------------------------------------------------------------------


def die_often(step: str, times: int) -> bool:
    """Run `times` workers one after another, each until it is killed at `step`. Tell whether each one was."""
    from cloudia.worker import __main__ as module  # noqa: PLC0415 - loaded once, then forked
    from cloudia.worker.providers import openai  # noqa: F401, PLC0415 - likewise

    _arm(step)
    for _ in range(times):
        process = os.fork()
        if not process:
            module.main()
            os._exit(1)
        if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) != -signal.SIGKILL:
            return False
    return True


def _arm(step: str) -> None:
    """Put the kill at its step."""
    from cloudia.cloud.job_records import Lease  # noqa: PLC0415 - only in the workers
    from cloudia.cloud.jobs import Jobs  # noqa: PLC0415 - only in the workers
    from cloudia.cloud.queue import JobQueue  # noqa: PLC0415 - likewise
    from cloudia.worker.background.outbox import Stream  # noqa: PLC0415 - likewise
    from cloudia.worker.background.receipts import Receipts  # noqa: PLC0415 - likewise

    pieces = 0

    def enough() -> bool:
        nonlocal pieces
        pieces += 1
        return pieces == _MID_STREAM

    match step:
        case "after receive":
            _wrap(JobQueue, "receive", after=bool)
        case "after lease":
            _wrap(Jobs, "lease", after=lambda outcome: isinstance(outcome, Lease))
        case "in mid-stream":
            _wrap(Stream, "text", after=lambda _: enough())
        case "before commit":
            _wrap(Jobs, "finish", before=lambda: True)
        case "after commit":
            _wrap(Jobs, "finish", after=lambda _: True)
        case "before delete":
            _wrap(Receipts, "delete", before=lambda: True)


def _wrap(
    owner: type,
    name: str,
    *,
    before: Callable[[], bool] = lambda: False,
    after: Callable[[Any], bool] = lambda _: False,
) -> None:
    work = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before():
            os.kill(os.getpid(), signal.SIGKILL)
        result = work(*args, **kwargs)
        if after(result):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def main() -> int:
    """Kill at every step, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--die", choices=STEPS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.die:
        return 0 if die_often(chosen.die, chosen.times) else 1
    broken = False
    with tempfile.TemporaryDirectory() as name:
        stack = start(Path(name))
        try:
            for step in STEPS:
                verdict = asyncio.run(kill_at(stack, step, times=chosen.times))
                print(f"{step:<14} {chosen.times} times: {verdict.to_json()}", flush=True)
                broken = broken or bool(verdict.broken)
        finally:
            stop_stack(stack)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
