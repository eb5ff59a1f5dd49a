"""What a function needs of the cloud, made once per process from its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.cloud.aws import Aws
from cloudia.cloud.history import History
from cloudia.cloud.identity import Identity
from cloudia.cloud.intake import Intake
from cloudia.cloud.jobs import Jobs
from cloudia.cloud.parameters import Parameters
from cloudia.cloud.presence import Presence
from cloudia.cloud.queue import JobQueue
from cloudia.settings import from_environment
from cloudia.stack import Stack

if TYPE_CHECKING:
    from cloudia.settings import Settings

__all__ = ["Services", "services"]

_IN_LAMBDA = "AWS_LAMBDA_FUNCTION_NAME"


@dataclass(frozen=True, slots=True)
class Services:
    """The services behind the HTTP API."""

    settings: Settings
    identity: Identity
    intake: Intake
    jobs: Jobs
    history: History
    queue: JobQueue
    presence: Presence


@cache
def services() -> Services:
    """Return this process's services. Lambda keeps a process warm, and its clients with it."""
    settings = from_environment()
    if _IN_LAMBDA in os.environ:  # Elsewhere the logs are those of the process around.
        telemetry.configure_logs(os.environ[_IN_LAMBDA], settings.log_level)
    stack = Stack(settings.stack_name)
    aws = Aws(settings)
    return Services(
        settings=settings,
        identity=Identity(Parameters(aws.ssm), stack, settings),
        intake=Intake(aws.dynamodb, stack),
        jobs=Jobs(aws.dynamodb, stack),
        history=History(aws.dynamodb, stack),
        queue=JobQueue(aws.sqs, stack.jobs_queue),
        presence=Presence(aws.dynamodb, stack),
    )
