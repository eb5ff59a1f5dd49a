"""The supervisor: starts the parts of a local stack, keeps them running, and stops them in order.

`python -m cloudia.local.supervisor` runs one without a terminal; that is what `cloudia up --detach` starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cloudia import ids
from cloudia.errors import CloudiaError, PartError
from cloudia.local.ending import heed_owner, heed_signals
from cloudia.local.logfile import LogFile
from cloudia.local.part import Part
from cloudia.local.plan import Plan, make_plan
from cloudia.local.project import Project
from cloudia.local.restart import RESTART_SIGNAL, take_requests
from cloudia.local.run_file import Failure, PlannedRun, RunFile
from cloudia.local.sources import SourceFiles
from cloudia.local.stop import TEMPORARY_PREFIX, clean_up
from cloudia.settings import public_environment
from cloudia.sim.engines.docker import remove_container

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator

    from cloudia.local.project import Lock
    from cloudia.local.run_file import RunState
    from cloudia.settings import Resolved
    from cloudia.sim.spec import PartKind

__all__ = ["Planner", "Supervisor", "Watcher", "supervise"]

_STOP_ORDER: tuple[tuple[PartKind, ...], ...] = (
    ("api", "worker"),
    ("gateway", "llm"),
    ("redis", "engine", "collector"),
)
"""First whoever takes work, then whoever does it, last what they stand on, and what they tell."""
_PROVISION_SECONDS = 60.0
_LOOK_SECONDS = 0.3


class Watcher(Protocol):
    """Whoever shows what happens."""

    def part(self, part: Part) -> None:
        """Learn that a part changed its state."""

    def line(self, name: str, line: str) -> None:
        """Learn that a part wrote a line."""

    def say(self, text: str) -> None:
        """Learn of something else."""

    def ready(self, run: PlannedRun) -> None:
        """Learn that every part has answered; `run` is what `run.json` says."""


class Planner(Protocol):
    """Whoever makes the plan; `make_plan` does, or what changes a plan of it."""

    async def __call__(
        self, project: Project, resolved: Resolved, *, temporary: Path, say: Callable[[str], None]
    ) -> Plan:
        """Return the plan."""


class Supervisor:
    """Runs one stack. `run` returns after `stop`."""

    def __init__(self, project: Project, resolved: Resolved, watcher: Watcher, planner: Planner = make_plan) -> None:
        self._project = project
        self._resolved = resolved
        self._watcher = watcher
        self._planner = planner
        self._stop = asyncio.Event()
        self._provisioned = asyncio.Event()
        self._parts: list[Part] = []
        self._restarts: set[asyncio.Task[None]] = set()
        self._plan: Plan | None = None
        self._lock: Lock
        self._temporary = Path()
        self._doing = ""
        self._state: RunState = "starting"
        self._error: CloudiaError | None = None

    def stop(self) -> None:
        """Stop everything. A second call kills what has not ended yet."""
        if self._stop.is_set():
            for part in self._parts:
                part.kill()
        self._stop.set()

    async def run(self) -> None:
        """Start, run until stopped, and leave nothing behind. `UsageError` and `PartError` where it cannot start."""
        with self._project.locked() as lock, self._temporary_folder() as temporary, self._requests(temporary):
            self._lock = lock
            watching = asyncio.create_task(self._watch(lock))
            try:
                self._write()
                self._plan = await self._unless_stopped(
                    self._planner(self._project, self._resolved, temporary=temporary, say=self._say)
                )
                if self._plan:
                    await self._run(self._plan)
                if watching.done():
                    watching.result()
            except CloudiaError as error:
                self._error = error
                raise
            finally:
                watching.cancel()
                if self._error:
                    self._state = "failed"
                    self._write()
                elif lock.is_here:
                    self._project.remove_run()

    async def _watch(self, lock: Lock) -> None:
        """Stop where the folder is moved, emptied or deleted: no verb would find the stack any more. `PartError` says so."""
        while lock.is_here:
            if not self._project.has_run:
                self._write()  # Somebody deleted it alone.
            await asyncio.sleep(_LOOK_SECONDS)
        self.stop()
        raise PartError(
            f"{lock.path.parent} was moved or deleted, so its stack ended", hint="Start it again with `cloudia up`."
        )

    async def _unless_stopped(self, planning: Coroutine[Any, Any, Plan]) -> Plan | None:
        """Return the plan, None where `stop` came first."""
        task, stopping = asyncio.create_task(planning), asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            return None
        stopping.cancel()
        return task.result()

    async def _run(self, plan: Plan) -> None:
        at_once, provisioned = asyncio.Event(), self._provisioned
        at_once.set()
        gates = [(spec, at_once) for spec in plan.foundations] + [(spec, provisioned) for spec in plan.services]
        self._parts = [
            Part(
                spec,
                self._project.root,
                LogFile(self._project.logs / f"{spec.name}.log"),
                gate,
                self._changed,
                self._line,
                plan.settings.up_restart_seconds,
            )
            for spec, gate in gates
        ]
        running = {part.spec.name: asyncio.create_task(part.run(self._after_restart(part))) for part in self._parts}
        starting = asyncio.create_task(self._start(plan))
        reloading = asyncio.create_task(self._reload(plan))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            pending: set[asyncio.Task[Any]] = {starting, stopping, *running.values()}
            while not stopping.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            starting.cancel()
            reloading.cancel()
            self._state = "stopping"
            await self._stop_parts()
            stopping.cancel()
            await asyncio.wait(running.values())
            if plan.container:  # It outlives a part that was killed.
                await asyncio.to_thread(remove_container, plan.container)
            for part in self._parts:
                part.log.close()

    async def _start(self, plan: Plan) -> None:
        """Provision once the engine is ready, then wait for every part."""
        for part in self._parts:
            if part.spec.kind == "engine":
                await part.ready()
        await self._provision(plan)
        self._provisioned.set()
        for part in self._parts:
            await part.ready()
        self._state = "ready"
        self._write()
        self._watcher.ready(self._planned_run(plan))

    async def _provision(self, plan: Plan) -> None:
        process = await asyncio.create_subprocess_exec(
            *plan.provision.command,
            env=dict(plan.provision.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            process_group=0,
        )
        try:
            async with asyncio.timeout(_PROVISION_SECONDS):
                out, err = await process.communicate()
        except (TimeoutError, asyncio.CancelledError):
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            raise _provision_error(err.decode(errors="replace"))
        changes = json.loads(out)
        changed = [change["name"] for change in changes if change["action"] != "unchanged"]
        self._say(f"provisioned {len(changes)} resources, {len(changed)} of them changed")

    async def _reload(self, plan: Plan) -> None:
        """Start the workers again when a file of the responder changes; their clients' connections stay."""
        name = plan.settings.worker_responder.partition(":")[0]
        if not plan.settings.up_reload or not name:
            return
        files = SourceFiles(self._project.root, name)
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            changed = files.changed()
            if changed:
                self._say(f"{changed} changed; the workers start again")
                self._restart({part.spec.name for part in self._parts if part.spec.kind == "worker"})

    def _restart(self, names: Collection[str]) -> None:
        """Start parts again; that takes as long as they need to end."""
        for part in self._parts:
            if part.spec.name in names:
                task = asyncio.create_task(part.restart())
                self._restarts.add(task)
                task.add_done_callback(self._restarts.discard)

    def _after_restart(self, part: Part) -> Any:
        """Return what follows when a part was started again: an engine has forgotten its resources."""
        plan = self._plan
        if plan is None or part.spec.kind != "engine":
            return None

        async def again() -> None:
            kept = (
                "with what it has saved, which is done every 2 s"
                if plan.settings.up_persist
                else "empty: nothing is kept"
            )
            self._say(f"the engine was started again, {kept}")
            await self._provision(plan)

        return again

    async def _stop_parts(self) -> None:
        for kinds in _STOP_ORDER:
            stopped = [part.stop() for part in self._parts if part.spec.kind in kinds]
            await asyncio.gather(*stopped)

    @contextlib.contextmanager
    def _requests(self, temporary: Path) -> Iterator[None]:
        """Heed who asks from outside for parts to be started again."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(RESTART_SIGNAL, lambda: self._restart(take_requests(temporary)))
        try:
            yield
        finally:
            loop.remove_signal_handler(RESTART_SIGNAL)

    # --- run.json ----------------------------------------------------------------------------------------------------

    def _changed(self, part: Part) -> None:
        if self._state == "ready" and part.state in {"restarting", "starting"}:
            self._state = "degraded"
        elif self._state == "degraded" and all(each.state == "ready" for each in self._parts):
            self._state = "ready"
        self._write()
        with contextlib.suppress(OSError):  # A terminal that is gone must not end what runs.
            self._watcher.part(part)

    def _line(self, name: str, line: str) -> None:
        with contextlib.suppress(OSError):
            self._watcher.line(name, line)

    def _say(self, text: str) -> None:
        self._doing = text
        self._write()
        with contextlib.suppress(OSError):
            self._watcher.say(text)

    def _write(self) -> None:
        if not self._lock.is_here:
            return  # What is there now may be another's.
        with contextlib.suppress(OSError):  # A full disk must not end what runs.
            self._project.write_run(self._planned_run(self._plan) if self._plan else RunFile(**self._begun()))

    def _planned_run(self, plan: Plan) -> PlannedRun:
        return PlannedRun(
            **self._begun(),
            urls=plan.urls,
            stack_name=plan.settings.stack_name,
            region=plan.settings.aws_region,
            engine=plan.settings.up_engine,
            llm=plan.settings.up_llm,
            persist=plan.settings.up_persist,
            environment=public_environment(plan.settings.changed(redis_url=plan.urls.redis_url)),
            parts={part.spec.name: part.record() for part in self._parts},
        )

    def _begun(self) -> dict[str, Any]:
        """Return what can be noted without a plan: the fields of a `RunFile`."""
        return {
            "state": self._state,
            "project": self._project.root,
            "supervisor": self._lock.holder,
            "temporary": self._temporary,
            "container": self._plan.container if self._plan else "",
            "doing": self._doing,
            "written_at": time.time(),
            "failure": Failure.of(self._error) if self._error else None,
        }

    @contextlib.contextmanager
    def _temporary_folder(self) -> Iterator[Path]:
        clean_up(self._project)  # The lock is held: what is noted here belongs to a supervisor that died.
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
        self._temporary = folder
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _provision_error(said: str) -> PartError:
    last = said.strip().splitlines()[-1:] or [""]
    try:
        error = json.loads(last[0])["error"]
    except (ValueError, KeyError, TypeError):
        return PartError(f"provisioning failed: {last[0][:300]}", hint="Try `cloudia provision --debug`.")
    return PartError(f"provisioning failed: {error['message']}", hint=error["hint"])


class _Quiet:
    """A watcher for a supervisor without a terminal: it keeps a log of its own."""

    def part(self, part: Part) -> None:
        print(f"{ids.now()} {part.spec.name}: {part.state} {part.reason}".rstrip(), flush=True)  # noqa: T201 - its log

    def line(self, name: str, line: str) -> None:
        pass

    def say(self, text: str) -> None:
        print(f"{ids.now()} {text}", flush=True)  # noqa: T201 - its log

    def ready(self, run: PlannedRun) -> None:
        print(f"{ids.now()} ready at {run.urls.web_url}", flush=True)  # noqa: T201 - its log, which keeps no secret


async def _main(project: Project, planner: Planner, *, owned: bool) -> None:
    resolved = project.settings(json.loads(os.environ.pop("CLOUDIA_FLAGS", "{}")))
    supervisor = Supervisor(project, resolved, _Quiet(), planner)
    heed_signals(supervisor.stop)
    if owned:
        heed_owner(supervisor.stop)
    await supervisor.run()


def supervise(project: Project, planner: Planner = make_plan, *, owned: bool = False) -> int:
    """Run a project's stack without a terminal; flags come as JSON in `CLOUDIA_FLAGS`. Return the exit status.

    One that is `owned` ends with who holds the other end of its stdin.
    """
    try:
        asyncio.run(_main(project, planner, owned=owned))
    except CloudiaError as error:
        print(json.dumps(error.to_json()), flush=True)  # noqa: T201 - its log
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(supervise(Project(Path.cwd())))
