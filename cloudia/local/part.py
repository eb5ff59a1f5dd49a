"""A part: one child process of the local stack, its log, and its restarts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudia import ids
from cloudia.errors import PartError
from cloudia.local.log_lines import stamped
from cloudia.local.processes import Process, birth_of
from cloudia.local.run_file import PartRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from cloudia.local.logfile import LogFile
    from cloudia.local.run_file import PartState
    from cloudia.sim.spec import PartSpec

__all__ = ["Part"]

_FIRST_BACKOFF = 0.2
_STEADY_SECONDS = 30.0
"""A part that lived this long begins its back-off anew."""
_STARTS = 3
"""Starts that may fail before a part that was never ready is given up."""
_ASK_SECONDS = 0.02
_TAIL_LINES = 20
_LINE_LIMIT = 1024 * 1024
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Part:
    """A part as it runs."""

    spec: PartSpec
    folder: Path
    """Where it runs: the project's folder."""
    log: LogFile
    gate: asyncio.Event
    """Set when the part may be asked whether it is ready: what it stands on is there."""
    on_state: Callable[[Part], None]
    on_line: Callable[[str, str], None]
    longest_backoff: float
    """Seconds; the pause before a restart doubles up to this."""
    state: PartState = "starting"
    noted: Process | None = None
    """Its last process."""
    restarts: int = 0
    reason: str = ""
    """Why it is not ready, in a few words."""
    _tail: list[str] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None
    _given_up: str = ""
    """Why its process was killed by us, in a few words."""
    _unfit: PartError | None = None
    """Why another start would not help."""
    _restarting: bool = False
    """The process was asked to end in order to be started again."""
    _was_ready: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        """The id of its last process."""
        return self.noted.pid if self.noted else None

    def record(self) -> PartRecord:
        """Return what `run.json` says of the part."""
        return PartRecord(
            kind=self.spec.kind,
            state=self.state,
            process=self.noted,
            restarts=self.restarts,
            detail=self.spec.detail,
            reason=self.reason,
        )

    async def ready(self) -> None:
        """Wait until the part was ready once."""
        await self._was_ready.wait()

    async def run(self, after_restart: Callable[[], Awaitable[None]] | None = None) -> None:
        """Keep the part running until `stop`. `PartError` where it never becomes ready."""
        backoff, failures = _FIRST_BACKOFF, 0
        while not self._stopping.is_set():
            born = time.monotonic()
            code = await self._live(after_restart if self._was_ready.is_set() else None)
            if self._stopping.is_set():
                break
            if self._restarting:
                self._restarting = False
                continue
            ended = self._given_up or f"it ended with {_ended(code)}"
            if not self._was_ready.is_set():
                if self._unfit:
                    self._set("failed", ended)
                    raise self._unfit
                failures += 1
                if failures >= _STARTS:
                    self._set("failed", ended)
                    raise self._failure(ended)
            if time.monotonic() - born > _STEADY_SECONDS:
                backoff = _FIRST_BACKOFF
            self.restarts += 1
            self._set("restarting", f"{ended}; again in {backoff:.1f} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff):
                    await self._stopping.wait()
            backoff = min(backoff * 2, self.longest_backoff)
        self._set("stopped")

    async def _live(self, after_restart: Callable[[], Awaitable[None]] | None) -> int:
        """Start the process, wait until it is ready, then until it ends. Return its exit status."""
        # A group of its own: Ctrl-C in a terminal reaches the supervisor, which stops the parts in their order.
        # A pipe of ours: of one of its own, asyncio waits for the end too, and what the process started may hold that open.
        output, given = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                env=dict(self.spec.environment),
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=given,
                stderr=asyncio.subprocess.STDOUT,
                process_group=0,
                preexec_fn=_die_with_parent,
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(given)
        self._process, self._given_up = process, ""
        self.noted = Process(process.pid, time.time(), birth_of(process.pid))
        self._set("starting")
        if self._stopping.is_set():  # That came while the process was being made.
            await self.stop()
        reading = asyncio.create_task(self._read(output))
        asking = asyncio.create_task(self._until_ready(process, after_restart))
        try:
            code = await process.wait()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # What it started may outlive it: an engine's Lambda processes.
            await asyncio.wait({reading}, timeout=1)  # Somebody in a group of his own may hold the pipe open.
            return code
        finally:
            for task in (reading, asking):
                task.cancel()
            await asyncio.wait({reading, asking})

    async def _until_ready(
        self, process: asyncio.subprocess.Process, after_restart: Callable[[], Awaitable[None]] | None
    ) -> None:
        await self.gate.wait()
        deadline = time.monotonic() + self.spec.ready_seconds
        while True:
            try:
                if await self.spec.ready(process.pid):
                    break
            except PartError as error:
                self._unfit = error
                self._give_up(error.message)
                return
            except Exception:  # noqa: BLE001, S110 - not yet
                pass
            if time.monotonic() > deadline:
                self._give_up(f"no answer within {self.spec.ready_seconds:g} s")
                return
            await asyncio.sleep(_ASK_SECONDS)
        if after_restart:
            try:
                await after_restart()
            except Exception as error:  # noqa: BLE001 - whatever it is, a new start is the way out
                self._give_up(str(error) or type(error).__name__)
                return
        self._was_ready.set()
        self._set("ready")

    async def _read(self, output: int) -> None:
        reader = asyncio.StreamReader(_LINE_LIMIT)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", 0)
        )
        try:
            while True:
                try:
                    raw = await reader.readline()
                except ValueError:
                    continue  # A line over the limit was dropped.
                if not raw:
                    return
                line = raw.decode(errors="replace").rstrip("\n")
                self._tail = [*self._tail[-_TAIL_LINES:], line]
                line = stamped(line, ids.now())
                self.log.write(line)
                self.on_line(self.spec.name, line)
        finally:
            transport.close()

    async def restart(self) -> None:
        """End the process, so that a new one takes its place at once."""
        process = self._process
        if process is None or process.returncode is not None or self._restarting or self._stopping.is_set():
            return  # A new one is on its way, or none is wanted.
        self._restarting = True
        self._set("restarting", "it was asked to")
        await self._end(process)

    async def stop(self) -> None:
        """End the process for good."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._set("stopping")
        await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Ask a process to end; kill it where it does not within its grace time."""
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self.spec.grace_seconds):
                await process.wait()
        except TimeoutError:
            self.kill()
            await process.wait()

    def _give_up(self, reason: str) -> None:
        self._given_up = reason
        self.kill()

    def kill(self) -> None:
        """Kill the process and whatever it started."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _set(self, state: PartState, reason: str = "") -> None:
        self.state, self.reason = state, reason
        self.on_state(self)

    def _failure(self, ended: str) -> PartError:
        """Return why it does not start: what it said last, unless we know better."""
        reason, hint = _last_words(self._tail)
        return PartError(
            f"{self.spec.name} does not start: {self._given_up or reason or ended}",
            hint=(not self._given_up and hint) or f"Its log is {self.log.path}.",
        )


def _last_words(lines: list[str]) -> tuple[str, str]:
    """Return the reason and the hint that the last line tells: those of a log line of ours, else the line itself.

    Of an exception that is its type and place.
    """
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    try:
        entry = json.loads(last)
        told = entry["reason"] if "reason" in entry else entry["exception"].splitlines()[-1]
        return str(told), str(entry.get("hint", ""))
    except (ValueError, TypeError, LookupError, AttributeError):
        return last[:300], ""


def _ended(code: int) -> str:
    return f"status {code}" if code >= 0 else signal.Signals(-code).name


def _load_prctl() -> Any:
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - Linux only

    return ctypes.CDLL(None).prctl


_prctl = _load_prctl()


def _die_with_parent() -> None:
    """Have the kernel end this process when the supervisor dies, however it dies (Linux: prctl(2), PR_SET_PDEATHSIG)."""
    if _prctl:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
