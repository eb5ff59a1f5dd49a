"""`cloudia token`: a bearer token of a stack whose secret can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it
from cloudia.cli.output import STATE, print_json

if TYPE_CHECKING:
    from cloudia.local.project import Project


def token(
    *,
    user: Annotated[str | None, typer.Option(help="Whose token; auth.user if left out.")] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="For whoever runs the stack: it opens /operator.")
    ] = False,
    ttl: Annotated[float, typer.Option(min=1, help="Seconds until it expires.")] = 3600.0,
    target: TargetName = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a bearer token of this folder's stack, signed with its own secret.

    Elsewhere the secret is read from SSM, with your credentials of AWS.
    """
    from cloudia.cli.target import sign  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    STATE.json = json
    project = find_project()
    settings = project.settings().settings
    name = user or settings.auth_user
    made = sign(settings, lambda: _secret(project, target), user=name, seconds=ttl, operator=operator)
    if json:
        print_json({"token": made, "user": name, "expires_in": int(ttl)})
    else:
        print(made)  # noqa: T201 - the data


def _secret(project: Project, name: str | None) -> str:
    """Return what signs the tokens of a target. `UsageError` where the settings name a stack elsewhere, and no cloud."""
    from cloudia.cli.cloud_target import find_cloud  # noqa: PLC0415 - lazy
    from cloudia.errors import UsageError  # noqa: PLC0415 - lazy

    settings = project.settings({"target_name": name}).settings
    if settings.target_name == "local" and not settings.aws_endpoint_url and not project.live_run():
        if settings.api_url:
            raise UsageError(
                f"the secret of this folder signs no token for {settings.api_url}",
                hint="Say --target aws: the secret is then read from the SSM of that stack.",
            )
        return project.secrets().token  # The stack of this folder takes it once it runs.
    found = find_cloud(project, name)
    found.tell()
    if found.run:
        return project.secrets().token
    from cloudia.cloud.cloud import Cloud  # noqa: PLC0415 - lazy

    cloud = Cloud(found.settings)
    return cloud.parameters.require(cloud.stack.token_secret)
