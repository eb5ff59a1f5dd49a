"""The cloud that an operator's verb works on: this folder's stack, an engine elsewhere, or AWS where it was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

import typer

from cloudia.cli.output import STATE, note
from cloudia.errors import NoStackError, UsageError

if TYPE_CHECKING:
    from cloudia.local.project import Project
    from cloudia.local.run_file import PlannedRun
    from cloudia.settings import Settings

__all__ = ["CloudTarget", "TargetName", "Where", "choose", "find_cloud"]

TargetName = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="local|aws",
        help="local: this folder's stack, or the engine that aws.endpoint_url names; aws: AWS itself.",
    ),
]
Where: TypeAlias = Literal["stack", "engine", "aws"]

_AWS = ("amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws", "api.amazonwebservices.com.cn")
"""Domains of its endpoints: https://docs.aws.amazon.com/general/latest/gr/rande.html"""


@dataclass(frozen=True, slots=True)
class CloudTarget:
    """What a verb works on."""

    project: Project
    settings: Settings
    """Those of the project, or those of the stack's own parts."""
    where: Where
    run: PlannedRun | None
    """What runs here, where that is meant."""

    def __str__(self) -> str:
        if self.where == "stack":
            return "this folder's stack"
        return f"{self.settings.stack_name} at {self.settings.aws_endpoint_url or f'AWS, {self.settings.aws_region}'}"

    def tell(self) -> None:
        """Name it to whoever reads along; a document of JSON names it itself where something was changed."""
        if not STATE.json:
            note(str(self))


def find_cloud(project: Project, name: str | None) -> CloudTarget:
    """Return what a verb works on; `name` is what `--target` says, else the setting `target.name` does.

    `NoStackError` where nothing runs here and nothing else was named; `UsageError` where what was named cannot be.
    """
    from cloudia.sim.engines.answering import check_url  # noqa: PLC0415 - lazy

    settings = project.settings({"target_name": name}).settings
    if settings.aws_endpoint_url:
        check_url(settings.aws_endpoint_url)
    run = project.live_run()
    where = choose(settings.target_name, settings.aws_endpoint_url, runs=run is not None)
    if run and where == "stack":
        return CloudTarget(project, project.settings_of(run), where, run)
    return CloudTarget(project, settings, where, None)


def choose(name: str, endpoint: str, *, runs: bool) -> Where:
    """Decide where a verb works. AWS is never what is left over: it was asked for, or there is an error.

    `name` is `local` or `aws`; `endpoint` a URL or nothing; `runs` tells whether a stack runs in this folder.
    """
    elsewhere = bool(endpoint) and not _is_aws(endpoint)
    if name == "aws":
        if elsewhere:
            raise UsageError(
                f"AWS is asked for, and aws.endpoint_url names {endpoint}", hint="Unset AWS_ENDPOINT_URL for this."
            )
        return "aws"
    if runs:
        return "stack"
    if elsewhere:
        return "engine"
    raise NoStackError(
        "no stack is running here, and AWS was not asked for",
        hint="Start one with `cloudia up --detach`; for AWS say --target aws.",
    )


def _is_aws(endpoint: str) -> bool:
    host = (urlsplit(endpoint).hostname or "").rstrip(".")
    return any(host == domain or host.endswith(f".{domain}") for domain in _AWS)
