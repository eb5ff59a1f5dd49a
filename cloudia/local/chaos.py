"""Chaos: breaks parts of a local stack on purpose, and mends them again."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil

from cloudia.direct import opener
from cloudia.errors import NoStackError, PartError, UsageError
from cloudia.local.project import Project
from cloudia.local.stop import supervisor_in_reach

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudia.local.processes import Process
    from cloudia.local.run_file import PlannedRun

__all__ = ["FAULTS", "Chaos"]

FAULTS: Mapping[str, dict[str, Any]] = {
    "400": {"kind": "status", "status": 400},
    "429": {"kind": "status", "status": 429},
    "500": {"kind": "status", "status": 500},
    "529": {"kind": "status", "status": 529},
    "timeout": {"kind": "timeout"},
    "hang": {"kind": "hang"},
    "cut": {"kind": "cut"},
    "slow": {"kind": "slow"},
    "garbage": {"kind": "garbage"},
}
"""What the simulated provider is told for each fault of the command line."""

_SECONDS = 5.0
_LET_GO = """
import contextlib, os, signal, sys
sys.stdin.read()
for pid in sys.argv[1:]:
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid), signal.SIGCONT)
"""
"""Has processes go on when whoever holds the other end of stdin is done with them, or has ended."""


class Chaos:
    """What can be broken of the stack that `run` describes; `project` is that of the folder it notes, unless one is given."""

    def __init__(self, run: PlannedRun, project: Project | None = None) -> None:
        self._run = run
        self._project = project or Project(run.project)

    # --- the provider -------------------------------------------------------------------------------------------------

    def add_fault(self, fault: str, **options: Any) -> dict[str, Any]:
        """Make the simulated provider fail. Options: `rate`, `count`, `for` (seconds), `retry_after`. Return the fault."""
        if fault not in FAULTS:
            raise UsageError(f"{fault!r} is no fault", hint=f"There are {', '.join(FAULTS)}.")
        wanted = {**FAULTS[fault], **{name: value for name, value in options.items() if value is not None}}
        answer: dict[str, Any] = self._provider("POST", "/_cloudia/faults", wanted)
        return answer

    def set_pace(self, *, ttft: float, tps: float, seed: int) -> None:
        """Set the provider's time to the first token (seconds), its tokens per second, and its seed."""
        self._provider("POST", "/_cloudia/settings", {"ttft": ttft, "tps": tps, "seed": seed})

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are active."""
        found: list[dict[str, Any]] = self._provider("GET", "/_cloudia/faults")["faults"]
        return found

    def play(self, case: Mapping[str, Any], *, times: int = 1) -> dict[str, Any]:
        """Have the simulated provider play a case to the next jobs. Return `{"name", "queued"}`."""
        queued: dict[str, Any] = self._provider("POST", "/_cloudia/cases", {"case": case, "times": times})
        return queued

    def cases(self) -> list[dict[str, Any]]:
        """Return the cases that wait to be played, each with its turns that are left."""
        waiting: list[dict[str, Any]] = self._provider("GET", "/_cloudia/cases")["cases"]
        return waiting

    def clear_cases(self) -> int:
        """Play no case any more. Return how many turns waited."""
        return int(self._provider("DELETE", "/_cloudia/cases")["deleted"])

    def requests(self) -> dict[str, Any]:
        """Return what the provider counted of its requests."""
        counted: dict[str, Any] = self._provider("GET", "/_cloudia/requests")
        return counted

    def clear_faults(self) -> int:
        """End all faults. Return how many there were."""
        return int(self._provider("DELETE", "/_cloudia/faults")["deleted"])

    def _provider(self, method: str, path: str, body: Any = None) -> Any:
        if self._run.llm != "sim":
            raise UsageError("this stack's LLM is not the simulated one", hint="Start it with `cloudia up --llm sim`.")
        request = urllib.request.Request(  # noqa: S310 - the URL is our own
            f"{self._run.urls.llm_url}{path}",
            None if body is None else json.dumps(body).encode(),
            {
                "content-type": "application/json",
                "authorization": f"Bearer {self._project.secrets().control}",
            },
            method=method,
        )
        try:
            with opener(request.full_url).open(request, timeout=_SECONDS) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            told = json.loads(error.read())["error"]
            raise UsageError(told["message"], hint=told["hint"]) from error
        except OSError as error:
            raise PartError("the simulated provider does not answer", hint="See `cloudia status`.") from error

    # --- processes ----------------------------------------------------------------------------------------------------

    def processes(self, part: str) -> dict[str, Process]:
        """Return the running processes of a part, by name: `worker` stands for all workers. `NoStackError` for none."""
        found = {name: each.process for name, each in self._run.named(part).items()}
        alive = {name: process for name, process in found.items() if process and process.alive}
        if not alive:
            supervisor_in_reach(self._project)
            raise NoStackError(f"no {part} of this stack is running", hint="See `cloudia status`.")
        return alive

    def kill(
        self, part: str, number: signal.Signals = signal.SIGKILL, *, every: bool = False, pick: int = 0
    ) -> dict[str, int]:
        """Send a signal to each process of a part, or to that one which `pick` picks. Return their ids by name.

        The supervisor starts them again.
        """
        alive = self.processes(part)
        chosen = alive if every else dict([list(alive.items())[pick % len(alive)]])
        for process in chosen.values():
            process.send(number)
        return {name: process.pid for name, process in chosen.items()}

    @contextlib.contextmanager
    def paused(self, part: str) -> Iterator[dict[str, int]]:
        """Stop a part's processes while the block runs; they go on however it ends, also where this process is killed."""
        alive = self.processes(part)
        pids = {name: process.pid for name, process in alive.items()}
        command = [sys.executable, "-I", "-S", "-c", _LET_GO, *map(str, pids.values())]
        with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
            for process in alive.values():
                process.send(signal.SIGSTOP)
            yield pids

    def pause(self, part: str, seconds: float) -> None:
        """Stop a part for a while."""
        with self.paused(part):
            time.sleep(seconds)

    def resume_all(self) -> list[str]:
        """Let every part go on that is stopped. Return their names."""
        resumed = []
        for name, part in self._run.parts.items():
            if part.process and part.process.status() == psutil.STATUS_STOPPED:
                part.process.send(signal.SIGCONT)
                resumed.append(name)
        return resumed
