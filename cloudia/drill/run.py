"""A drill: starts a stack of its own, lets the storm loose on it, and hands what was seen to the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia.drill.storm import make_storm
from cloudia.drill.witness import Witness, ended
from cloudia.errors import NoStackError
from cloudia.local import start
from cloudia.local.borrowed import OWN_PARTS, BorrowedProject
from cloudia.local.chaos import Chaos
from cloudia.local.ending import leash
from cloudia.local.stop import stop_stack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudia.drill.storm import Blow, Storm, StormSize
    from cloudia.drill.verdict import Verdict
    from cloudia.drill.witness import DrillView
    from cloudia.local.project import Project
    from cloudia.local.run_file import PlannedRun
    from cloudia.local.start import Progress

__all__ = ["run_drill"]

_SETTINGS: Mapping[str, Any] = {
    **OWN_PARTS,
    # A drill's users send as fast as they like.
    "limits_jobs_per_user": 0,
    "limits_messages_per_minute": 0,
    "limits_connections_per_user": 0,
    # A killed worker's jobs come back when visibility and lease run out: in a drill within seconds.
    "up_restart_seconds": 0.5,
    "worker_visibility_seconds": 4,
    "worker_lease_seconds": 4,
    "worker_poll_seconds": 1,
    "reconcile_after_seconds": 5.0,
    "llm_breaker_errors": 30,
    "llm_breaker_open_seconds": 2.0,
    "llm_first_token_seconds": 5.0,
    "llm_gap_seconds": 5.0,
}
_FIRST_TOKEN_SECONDS = 0.03


def run_drill(
    size: StormSize, *, workers: int, responder: str = "", root: Path | None = None, view: DrillView, progress: Progress
) -> Verdict:
    """Run a drill in a folder of its own, and leave nothing behind, not even where this process is killed.

    A `responder` of the user's own is that of the project in the folder `root`, with the project's settings; no other state
    of it is used, nor changed.
    """
    storm = make_storm(size)
    with tempfile.TemporaryDirectory(prefix="cloudia-drill-") as name, leash() as stdin:
        home = Path(name)
        project = BorrowedProject(root or home, home)
        flags = {**_SETTINGS, "up_workers": workers, "worker_responder": responder}
        try:
            troubles = json.dumps([asdict(trouble) for trouble in storm.troubles])
            supervisor = ("cloudia.drill.supervise", str(home), troubles)
            run = start.detached(project, flags, progress, supervisor=supervisor, stdin=stdin)
            chaos = Chaos(run, project)
            chaos.set_pace(ttft=_FIRST_TOKEN_SECONDS, tps=size.tokens_per_second, seed=size.seed)
            for fault, rate in storm.faults:
                chaos.add_fault(fault, rate=rate)
            return asyncio.run(_run(project, run, storm, view, provider=None if responder else chaos))
        finally:
            stop_stack(project)


async def _run(project: Project, run: PlannedRun, storm: Storm, view: DrillView, *, provider: Chaos | None) -> Verdict:
    settings, secret = project.settings_of(run), project.secrets().token
    async with Witness(run, settings, secret, storm.conversations, view, provider=provider) as witness:
        weather = asyncio.create_task(_blow(project, storm.blows, witness))
        try:
            await witness.talk(calm=weather.cancel)
        finally:
            await ended(weather)
        return await witness.verdict(clocks=not any(trouble.clock for trouble in storm.troubles))


async def _blow(project: Project, blows: Sequence[Blow], witness: Witness) -> None:
    """Strike at the storm's times, until cancelled."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for blow in blows:
            await asyncio.sleep(max(0.0, blow.at - (time.monotonic() - began)))
            group.create_task(_strike(project, blow, witness))


async def _strike(project: Project, blow: Blow, witness: Witness) -> None:
    if blow.target == "client":
        await witness.clients[blow.number % len(witness.clients)].stream.cut()
        return
    run = await asyncio.to_thread(project.live_run)
    # One that still starts is let be: on a machine that takes longer for it than the storm between blows, none would ever work.
    ready = [name for name, part in run.named(blow.target).items() if part.state == "ready"] if run else []
    if not run or not ready:
        return
    chaos, name = Chaos(run), ready[blow.number % len(ready)]
    with contextlib.suppress(NoStackError):  # It went down in this moment.
        if not blow.seconds:
            chaos.kill(name)
            return
        with chaos.paused(name):
            await asyncio.sleep(blow.seconds)
