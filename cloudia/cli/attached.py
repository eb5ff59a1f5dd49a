"""A further process of the running stack, in this terminal: what `cloudia worker` and `cloudia gateway` do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from cloudia.local.project import find_project

if TYPE_CHECKING:
    from cloudia.local.project import Project
    from cloudia.settings import Reader, Settings

__all__ = ["become"]


def become(module: str, reader: Reader, target: str | None, **changes: str) -> None:
    """Turn this process into `python -m {module}`, with the environment of the stack's own part and `changes` to it.

    Elsewhere than in this folder's stack, the settings alone are its environment. Raises what `find_cloud` raises.
    """
    from cloudia.cli.cloud_target import find_cloud  # noqa: PLC0415 - lazy
    from cloudia.local.collector import sending_to  # noqa: PLC0415 - lazy
    from cloudia.local.environments import inherited, with_account  # noqa: PLC0415 - lazy
    from cloudia.settings import to_environment  # noqa: PLC0415 - lazy

    found = find_cloud(find_project(), target)
    found.tell()
    settings = _with_keys(found.project, found.settings) if found.run else found.settings
    environment = {**with_account(inherited(reader), settings), **to_environment(settings, reader), **changes}
    if found.run and found.run.urls.collector_url:
        environment = sending_to(environment, found.run.urls.collector_url, found.project.secrets().collector)
    found.project.require_own_code(settings)
    os.chdir(found.project.root)  # Its code is there; with -P, no file of the folder hides a library.
    os.execve(sys.executable, [sys.executable, "-P", "-m", module], environment)  # noqa: S606 - no shell is wanted


def _with_keys(project: Project, settings: Settings) -> Settings:
    """Return the settings of a stack that runs here, with the keys of real providers that this folder and environment have."""
    chosen = project.settings().settings
    keys = {name: account.api_key for name, account in chosen.accounts.items() if not settings.accounts[name].api_key}
    return settings.changed(**{f"{name}_api_key": key for name, key in keys.items()})
