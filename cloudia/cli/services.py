"""The AWS side of the stack that a verb works on: the one that runs in this project, or the one the settings name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.errors import NoStackError, UsageError
from cloudia.local.project import find_project

if TYPE_CHECKING:
    from cloudia.cloud.cloud import Cloud
    from cloudia.local.project import Project
    from cloudia.operate.dead_letters import DeadLetters

__all__ = ["Services", "open_services"]


@dataclass(frozen=True, slots=True)
class Services:
    """What the verbs of an operator work with."""

    project: Project
    cloud: Cloud
    letters: DeadLetters
    local: bool
    """Whether the stack runs in this project."""


def open_services() -> Services:
    """Make the services. `NoStackError` where nothing runs here and AWS is not configured either."""
    from cloudia.cloud.cloud import Cloud  # noqa: PLC0415 - lazy
    from cloudia.operate.dead_letters import DeadLetters  # noqa: PLC0415 - lazy
    from cloudia.settings import from_environment  # noqa: PLC0415 - lazy

    project = find_project()
    run = project.live_run()
    local = run is not None
    cloud = Cloud(from_environment(run.environment) if run else project.settings().settings)
    try:
        _ = cloud.dead_letters.url  # Says at once where credentials, the engine or the queue are missing.
    except UsageError as error:
        if local or cloud.settings.aws_endpoint_url:
            raise
        raise NoStackError(
            f"no stack is running here, and {error.message}",
            hint="Start one with `cloudia up --detach`, or set AWS_PROFILE.",
        ) from error
    return Services(project, cloud, DeadLetters(cloud.dead_letters, cloud.queue, cloud.jobs), local)
