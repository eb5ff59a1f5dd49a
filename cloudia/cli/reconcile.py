"""`cloudia reconcile`: send again, or end, the jobs that nobody has had to do with for a while."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it
from cloudia.cli.output import STATE, note, print_json


def reconcile(
    *, target: TargetName = None, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Send again, or end, the jobs that nobody has had to do with for `reconcile.after_seconds`.

    The workers do it by themselves; this does it now. Whoever waits for a job that is ended here is told by a worker.
    """
    from cloudia.cli.services import open_services  # noqa: PLC0415 - lazy
    from cloudia.operate.reconciler import Reconciler  # noqa: PLC0415 - lazy

    STATE.json = json
    services = open_services(target)
    cloud, settings = services.cloud, services.target.settings
    after = settings.reconcile_after_seconds
    reconciler = Reconciler(cloud.orphans, cloud.jobs, cloud.history, cloud.queue, after_seconds=after)
    done = list(reconciler.run())
    if json:
        print_json({"target": str(services.target), "jobs": [asdict(each) for each in done]})
        return
    counts = Counter(each.outcome for each in done)
    note(f"jobs sent again: {counts['sent']}; ended: {counts['ended']}")
