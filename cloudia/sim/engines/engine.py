"""What an engine is to whoever runs a stack: how it is checked and got ready, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudia.settings import Settings
    from cloudia.sim.checks import Check
    from cloudia.sim.spec import PartSpec

__all__ = ["Engine", "EngineSpec", "Folders"]


@dataclass(frozen=True, slots=True)
class Folders:
    """Where an engine may put its files."""

    project: Path
    temporary: Path
    """Goes with the stack."""
    data: Path | None = None
    """What is kept across down and up; None where nothing is."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine that is ready to be used, or to be started."""

    url: str
    part: PartSpec | None = None
    """What has to run for it; None where it runs elsewhere."""
    container: str = ""
    """The container that the part runs in, which does not end with its process."""


class Engine(Protocol):
    """What stands in for AWS, as `up.engine` names it. Made of the settings; making it does nothing."""

    title: ClassVar[str]
    """What it calls itself; empty where it may be anything."""
    takes_zips: ClassVar[bool]
    """Whether it runs the functions from their zips, behind an HTTP API of its own."""
    own_account: ClassVar[bool]
    """Whether its account is nobody's: the stack has credentials of its own there, and those of the user are not used."""

    def __init__(self, settings: Settings) -> None:
        """Take what the settings say of it."""
        ...

    def check(self) -> Check:
        """Return what `cloudia doctor` shows. Starts and installs nothing."""
        ...

    async def prepare(self, folders: Folders, port: Callable[[], int], say: Callable[[str], None]) -> EngineSpec:
        """Get what it needs, and return where it is and what has to run for it; one that runs elsewhere has to answer.

        `port` chooses one for it, where it needs one; `say` is told of what takes long; where this is cancelled, that ends.
        `UsageError` and `PartError` say what is missing.
        """
        ...
