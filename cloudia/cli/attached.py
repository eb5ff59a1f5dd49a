"""A further process of the running stack, in this terminal: what `cloudia worker` and `cloudia gateway` do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from cloudia.local.project import find_project

if TYPE_CHECKING:
    from cloudia.settings import Reader

__all__ = ["become"]


def become(module: str, reader: Reader, target: str | None, **changes: str) -> None:
    """Turn this process into `python -m {module}`, with the environment of the stack's own part and `changes` to it.

    Elsewhere than in this folder's stack, the settings alone are its environment. Raises what `find_cloud` raises.
    """
    from cloudia.cli.cloud_target import find_cloud  # noqa: PLC0415 - lazy
    from cloudia.local.environments import inherited  # noqa: PLC0415 - lazy
    from cloudia.settings import from_environment, to_environment  # noqa: PLC0415 - lazy

    found = find_cloud(find_project(), target)
    found.tell()
    settings = found.run.environment if found.run else to_environment(found.settings, reader=reader)
    environment = {**inherited(reader), **settings, **changes}
    found.project.require_own_code(from_environment(environment))
    os.chdir(found.project.root)  # Its code is there; with -P, no file of the folder hides a library.
    os.execve(sys.executable, [sys.executable, "-P", "-m", module], environment)  # noqa: S606 - no shell is wanted
