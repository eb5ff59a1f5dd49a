"""The cloud of one process: every service on AWS, made once and when it is first used, from the settings."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from cloudia.cloud.aws import Aws
from cloudia.cloud.history import History
from cloudia.cloud.jobs import Jobs
from cloudia.cloud.parameters import Parameters
from cloudia.cloud.presence import Presence
from cloudia.cloud.queue import JobQueue
from cloudia.stack import Stack

if TYPE_CHECKING:
    from cloudia.cloud.identity import Identity
    from cloudia.cloud.intake import Intake
    from cloudia.cloud.orphans import Orphans
    from cloudia.settings import Settings

__all__ = ["Cloud"]


class Cloud:
    """The services on AWS of the stack that the settings name. What goes through Redis is `realtime.Realtime`.

    Making it calls nobody; so does making a service. `UsageError` where no client of AWS can be made.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stack = Stack(settings.stack_name)
        self.aws = Aws(settings)

    @cached_property
    def identity(self) -> Identity:
        """Tokens and session ids."""
        from cloudia.cloud.identity import Identity  # noqa: PLC0415 - a worker has no library for tokens

        return Identity(self.parameters, self.stack, self.settings)

    @cached_property
    def intake(self) -> Intake:
        """Accepts messages."""
        from cloudia.cloud.allowances import Limits  # noqa: PLC0415 - what is limited is read by who accepts
        from cloudia.cloud.intake import Intake  # noqa: PLC0415
        from cloudia.cloud.reserve import Reserve, budgets_of  # noqa: PLC0415

        budgets = budgets_of(self.settings)
        reserve = Reserve(self.settings) if budgets.any else None
        return Intake(self.aws.dynamodb, self.stack, Limits.of(self.settings), budgets, reserve)

    @cached_property
    def jobs(self) -> Jobs:
        """The jobs."""
        return Jobs(self.aws.dynamodb, self.stack)

    @cached_property
    def orphans(self) -> Orphans:
        """The open jobs that nobody has to do with."""
        from cloudia.cloud.orphans import Orphans  # noqa: PLC0415 - a function has no use for it

        return Orphans(self.aws.dynamodb, self.stack)

    @cached_property
    def history(self) -> History:
        """The conversations and their messages."""
        return History(self.aws.dynamodb, self.stack)

    @cached_property
    def presence(self) -> Presence:
        """Who is alive."""
        return Presence(self.aws.dynamodb, self.stack)

    @cached_property
    def parameters(self) -> Parameters:
        """The secrets in SSM."""
        return Parameters(self.aws.ssm)

    @cached_property
    def queue(self) -> JobQueue:
        """The jobs queue."""
        return JobQueue(self.aws.sqs, self.stack.jobs_queue)

    @cached_property
    def dead_letters(self) -> JobQueue:
        """The queue of dead letters."""
        return JobQueue(self.aws.sqs, self.stack.dead_letters)
