"""The AWS side of the stack that a verb works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.local.project import find_project

if TYPE_CHECKING:
    from cloudia.cli.cloud_target import CloudTarget
    from cloudia.cloud.cloud import Cloud
    from cloudia.operate.dead_letters import DeadLetters

__all__ = ["Services", "open_services"]


@dataclass(frozen=True, slots=True)
class Services:
    """What the verbs of an operator work with."""

    target: CloudTarget
    cloud: Cloud
    letters: DeadLetters


def open_services(name: str | None) -> Services:
    """Make the services of the target of this name, and name it. Raises what `find_cloud` raises.

    `UsageError` and `UnavailableError` where credentials, the engine or the queue are missing.
    """
    from cloudia.cli.cloud_target import find_cloud  # noqa: PLC0415 - lazy
    from cloudia.cloud.cloud import Cloud  # noqa: PLC0415 - lazy
    from cloudia.operate.dead_letters import DeadLetters  # noqa: PLC0415 - lazy

    target = find_cloud(find_project(), name)
    target.tell()
    cloud = Cloud(target.settings)
    _ = cloud.dead_letters.url  # Says at once where credentials, the engine or the queue are missing.
    return Services(target, cloud, DeadLetters(cloud.dead_letters, cloud.queue, cloud.jobs))
