"""`python -m cloudia.testing.supervise ROOT HOME`: run the stack of ROOT, with its state in HOME, until stdin is closed.

Whoever started it holds the other end of stdin; so the stack ends with them, however they end. One JSON object a line goes to
stdout: `{"said": text}`, then what `run.json` says once every part has answered, or `{"error": {"code", "message", "hint"}}`.
Flags come as JSON in `CLOUDIA_FLAGS`.

From then on each line on stdin asks that all open jobs be ended, and that the workers forget what a test has taught them. It is
answered by one: `{}`, or an error. That is done here, because in the process of the tests time may be frozen and boto3 mocked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia.errors import CloudiaError
from cloudia.local.borrowed import BorrowedProject
from cloudia.local.plan import make_plan
from cloudia.local.supervisor import Supervisor
from cloudia.sim.spec import python_module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudia.local.part import Part
    from cloudia.local.plan import Plan
    from cloudia.local.project import Project
    from cloudia.local.run_file import PlannedRun
    from cloudia.settings import Resolved

_MOST_BYTES = 4096


class _Teller:
    """A watcher that tells until the stack is ready; from then on nobody reads."""

    def __init__(self) -> None:
        self._ready = False

    def part(self, part: Part) -> None:
        pass

    def line(self, name: str, line: str) -> None:
        pass

    def say(self, text: str) -> None:
        if not self._ready:
            _tell({"said": text})

    def ready(self, run: PlannedRun) -> None:
        if not self._ready:
            _tell(run.to_json())
        self._ready = True


class _Asked:
    """What comes on stdin: whoever started the stack asks for something, or has gone."""

    def __init__(self, project: Project, supervisor: Supervisor) -> None:
        self._project = project
        self._supervisor = supervisor
        self._work: set[asyncio.Task[None]] = set()

    def read(self) -> None:
        """Read what is there."""
        lines = os.read(sys.stdin.fileno(), _MOST_BYTES)
        if not lines:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._supervisor.stop()
        for _ in range(lines.count(b"\n")):
            task = asyncio.create_task(asyncio.to_thread(self._end_test))
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    def _end_test(self) -> None:
        from cloudia.cloud.cloud import Cloud  # noqa: PLC0415 - half a second of import, which the start need not wait for
        from cloudia.testing.leftovers import end_jobs, make_forget  # noqa: PLC0415

        try:
            end_jobs(Cloud(self._project.settings_of(self._project.require_run())))
            make_forget(self._project.require_run().parts.values())  # A test may have killed others meanwhile.
        except CloudiaError as error:
            _tell(error.to_json())
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            _tell(CloudiaError(f"{type(error).__name__}: {error}").to_json())
        else:
            _tell({})


async def _plan(project: Project, resolved: Resolved, *, temporary: Path, say: Callable[[str], None]) -> Plan:
    """Return the plan of a stack whose workers can forget."""
    plan = await make_plan(project, resolved, temporary=temporary, say=say)
    command = python_module("cloudia.testing.worker")
    services = (replace(spec, command=command) if spec.kind == "worker" else spec for spec in plan.services)
    return replace(plan, services=tuple(services))


def _tell(document: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(document), flush=True)  # noqa: T201 - the data


async def _main(project: BorrowedProject, flags: Mapping[str, Any]) -> None:
    supervisor = Supervisor(project, project.settings(flags), _Teller(), _plan)
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), _Asked(project, supervisor).read)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run()


def main() -> int:
    """Return the exit status."""
    root, home = sys.argv[1:]
    flags = json.loads(os.environ.pop("CLOUDIA_FLAGS"))
    try:
        asyncio.run(_main(BorrowedProject(Path(root), Path(home)), flags))
    except CloudiaError as error:
        _tell(error.to_json())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
