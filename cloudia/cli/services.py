"""The AWS side of the stack that a verb works on: the one that runs in this project, or the one the settings name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.errors import NoStackError, UsageError
from cloudia.local.project import find_project

if TYPE_CHECKING:
    from cloudia.cloud.history import History
    from cloudia.cloud.jobs import Jobs
    from cloudia.cloud.queue import JobQueue
    from cloudia.local.project import Project
    from cloudia.operate.dead_letters import DeadLetters
    from cloudia.settings import Settings

__all__ = ["Services", "open_services"]


@dataclass(frozen=True, slots=True)
class Services:
    """What the verbs of an operator work with."""

    project: Project
    settings: Settings
    jobs: Jobs
    history: History
    queue: JobQueue
    letters_queue: JobQueue
    letters: DeadLetters
    local: bool
    """Whether the stack runs in this project."""


def open_services() -> Services:
    """Make the services. `NoStackError` where nothing runs here and AWS is not configured either."""
    from cloudia.cloud.aws import Aws  # noqa: PLC0415 - lazy
    from cloudia.cloud.history import History  # noqa: PLC0415 - lazy
    from cloudia.cloud.jobs import Jobs  # noqa: PLC0415 - lazy
    from cloudia.cloud.queue import JobQueue  # noqa: PLC0415 - lazy
    from cloudia.operate.dead_letters import DeadLetters  # noqa: PLC0415 - lazy
    from cloudia.settings import from_environment  # noqa: PLC0415 - lazy
    from cloudia.stack import Stack  # noqa: PLC0415 - lazy

    project = find_project()
    run = project.live_run()
    local = bool(run and run.get("environment"))
    settings = from_environment(run["environment"]) if run and local else project.settings().settings
    aws, stack = Aws(settings), Stack(settings.stack_name)
    try:
        queue = JobQueue(aws.sqs, stack.jobs_queue)
        letters_queue = JobQueue(aws.sqs, stack.dead_letters)
        jobs = Jobs(aws.dynamodb, stack)
        _ = letters_queue.url  # Says at once where credentials, the engine or the queue are missing.
    except UsageError as error:
        if local or settings.aws_endpoint_url:
            raise
        raise NoStackError(
            f"no stack is running here, and {error.message}",
            hint="Start one with `cloudia up --detach`, or set AWS_PROFILE.",
        ) from error
    letters = DeadLetters(letters_queue, queue, jobs)
    return Services(project, settings, jobs, History(aws.dynamodb, stack), queue, letters_queue, letters, local)
