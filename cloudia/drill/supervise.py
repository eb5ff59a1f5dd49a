"""`python -m cloudia.drill.supervise HOME TROUBLES`: run a drill's stack in the working folder, with its state in HOME.

Where TROUBLES has any, its workers are those of `cloudia.drill.worker`. Flags come as JSON in `CLOUDIA_FLAGS`. It ends with the
drill, which holds the other end of its stdin; where that was killed, HOME goes too.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cloudia.local.borrowed import BorrowedProject
from cloudia.local.ending import owner_is_gone
from cloudia.local.plan import make_plan
from cloudia.local.supervisor import supervise
from cloudia.sim.spec import python_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.local.plan import Plan
    from cloudia.local.project import Project
    from cloudia.settings import Resolved
    from cloudia.sim.spec import PartSpec


async def _plan(project: Project, resolved: Resolved, *, temporary: Path, say: Callable[[str], None]) -> Plan:
    """Return the plan of a stack whose workers are in trouble."""
    plan = await make_plan(project, resolved, temporary=temporary, say=say)
    return replace(plan, services=tuple(_troubled(spec) if spec.kind == "worker" else spec for spec in plan.services))


def _troubled(worker: PartSpec) -> PartSpec:
    return replace(worker, command=python_module("cloudia.drill.worker", sys.argv[2], str(worker.number or 1)))


def main() -> int:
    """Return the exit status."""
    home, troubles = sys.argv[1:]
    project = BorrowedProject(Path.cwd(), Path(home))
    code = supervise(project, _plan if json.loads(troubles) else make_plan, owned=True)
    if owner_is_gone():
        shutil.rmtree(home, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
