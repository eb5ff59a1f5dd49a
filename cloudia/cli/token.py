"""`cloudia token`: a bearer token of the local stack."""

from __future__ import annotations

from typing import Annotated

import typer

from cloudia.cli.output import STATE, print_json


def token(
    *,
    user: Annotated[str | None, typer.Option(help="Whose token; auth.user if left out.")] = None,
    ttl: Annotated[float, typer.Option(min=1, help="Seconds until it expires.")] = 3600.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a bearer token, signed with the local stack's own secret."""
    from cloudia.cli.target import local_token  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    STATE.json = json
    project = find_project()
    settings = project.settings().settings
    name = user or settings.auth_user
    made = local_token(project, settings, user=name, seconds=ttl)
    if json:
        print_json({"token": made, "user": name, "expires_in": int(ttl)})
    else:
        print(made)  # noqa: T201 - the data
